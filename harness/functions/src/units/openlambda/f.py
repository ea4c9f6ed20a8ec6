"""OpenLambda's handler: a WSGI application that hands each request's bytes to the guest's agent.

The agent dials a socket of ours and speaks frames: a length of four bytes (little endian), one byte that says what it
is, the payload. A fault is answered with status 500 and the agent's line.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ARGS = @ARGS@
LIMIT = @FRAME_BYTES@
START_S = @START_S@
# A second more than the agent's own deadline: engines end a call by themselves, and say so.
CALL_S = @CALL_S@ + 1
UP, HELLO, CALL, ANSWER, FAULT = 1, 2, 3, 4, 5
PR_SET_PDEATHSIG = 1


class Broken(Exception):
    """The agent has failed, and cannot be asked again."""


def die_with_parent():
    """A guest that never returns would not see that its channel has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Agent:
    """The guest's agent, which has said `hello`."""

    def __init__(self):
        with tempfile.TemporaryDirectory(prefix="isobench-") as folder, socket.socket(socket.AF_UNIX) as listener:
            path = os.path.join(folder, "s")
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(START_S)
            words = {"@SOCKET@": f"unix:{path}", "@GUEST_PATH@": os.path.join(HERE, "@GUEST_FILE@")}
            self.process = subprocess.Popen(
                [os.path.join(HERE, "agent")] + [words.get(word, word) for word in ARGS],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
            try:
                self.channel, _ = listener.accept()
                self.channel.settimeout(START_S)
                for due in (UP, HELLO):
                    kind, payload = self.frame()
                    if kind != due:
                        raise Broken(payload.decode(errors="replace") if kind == FAULT else f"bad_frame: kind {kind}")
                self.channel.settimeout(CALL_S)
            except OSError as error:
                raise self.broken("no_hello", error) from error

    def broken(self, kind, why):
        """Ends it; the fault to raise."""
        self.process.kill()
        return Broken(f"{kind}: {why}; the agent ended with {self.process.wait()}")

    def read(self, size):
        """So many bytes."""
        data = bytearray()
        while len(data) < size:
            part = self.channel.recv(min(size - len(data), 1 << 20))
            if not part:
                raise self.broken("channel_closed", "the agent closed the channel")
            data += part
        return bytes(data)

    def frame(self):
        """The next frame: its kind and payload."""
        size, kind = struct.unpack("<IB", self.read(5))
        if size > LIMIT:
            raise self.broken("frame_too_large", f"{size} bytes, the limit is {LIMIT}")
        return kind, self.read(size)

    def call(self, request):
        """Whether it is an answer, and its bytes or the fault's line."""
        try:
            self.channel.sendall(struct.pack("<IB", len(request), CALL) + request)
            kind, payload = self.frame()
        except socket.timeout as error:
            raise self.broken("deadline_exceeded", f"no answer after {CALL_S} s") from error
        except OSError as error:
            raise self.broken("channel_closed", error) from error
        if kind not in (ANSWER, FAULT):
            raise self.broken("bad_frame", f"kind {kind} where an answer was due")
        return kind == ANSWER, payload


LOCK = threading.Lock()
AGENT = Agent()


def call(request):
    """One call; after a fault that leaves the agent unusable the next one gets another."""
    global AGENT
    with LOCK:
        try:
            if AGENT is None:
                AGENT = Agent()
            good, answer = AGENT.call(request)
            if answer.startswith(b"out_of_memory: ") and not good:
                # It leaves by itself then.
                AGENT = None
            return good, answer
        except Broken as broken:
            AGENT = None
            return False, str(broken).encode()


def app(environ, start_response):
    """POST is a call, GET asks whether the guest is ready."""
    method = environ["REQUEST_METHOD"]
    if method == "POST":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        good, answer = call(body)
        status = "200 OK" if good else "500 Internal Server Error"
        if not good:
            print(answer.decode(errors="replace"), file=sys.stderr)
    elif method == "GET":
        status, answer = "200 OK", b"ready"
    else:
        status, answer = "405 Method Not Allowed", b"POST a request's bytes; GET says `ready`"
    kind = "application/octet-stream" if status == "200 OK" else "text/plain"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer)))])
    return [answer]
