FROM scratch
# The agent meets its adapter at a socket in here.
WORKDIR /tmp
COPY isobench-function agent unit.json @GUEST_FILE@ /function/
EXPOSE 8080
ENTRYPOINT ["/function/isobench-function"]
