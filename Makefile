# What a new user needs: `make bench` and `make test`. Each installs what it needs, builds, and runs.

.PHONY: help setup build plan bench test lint clean

help:
	@echo "make bench   install what the quick comparison needs, build, run it, write the report"
	@echo "make test    install what every test needs, build, then every test, real backends included"
	@echo "make build   build everything"
	@echo "make lint    rustfmt, clippy, cargo-deny"
	@echo "make clean   reap what killed runs left"

setup:
	@scripts/setup.sh

# All targets at once and always the same selection: with another one Cargo may unite features differently and compile
# the engines again.
build: setup
	@scripts/build.sh

plan:
	@echo "set-up: what the quick run uses (ISOBENCH_SETUP=none|quick|all); then the build, about 10 minutes on two"
	@echo "cores the first time; then the quick run, 4 minutes. The set-up prints what it installs before it starts."

bench: plan build
	@scripts/isobench.sh run --quick

test: export ISOBENCH_SETUP := all
test: build
	@scripts/test.sh

lint: setup
	@scripts/lint.sh

clean:
	@scripts/isobench.sh clean
