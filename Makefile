# What a new user needs: `make bench` and `make test`. Each installs what is missing, builds, and runs.

.PHONY: help setup build bench test lint clean

help:
	@echo "make bench   install what is missing, build, run the quick comparison, write the report"
	@echo "make test    the same set-up, then every test, real backends included"
	@echo "make build   build everything"
	@echo "make lint    rustfmt, clippy, cargo-deny"
	@echo "make clean   reap what killed runs left"

setup:
	@scripts/setup.sh

# All targets at once and always the same selection: with another one Cargo may unite features differently and compile
# the engines again.
build: setup
	@scripts/build.sh

bench: build
	@scripts/isobench.sh run --quick

test: build
	@scripts/test.sh

lint: setup
	@scripts/lint.sh

clean:
	@scripts/isobench.sh clean
