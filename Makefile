# Each target works by itself in a fresh clone on Debian 12, as root or with sudo. A second run skips the set-up.
.NOTPARALLEL:
.PHONY: help setup demo test check bench fuzz soak clean

help:
	@echo 'make demo    install what is needed, then show a container being started, left alone and attached to'
	@echo 'make test    the same set-up, then every test'
	@echo 'make check   what to run before a commit: formatter, linter, types, tests, sanitizer build'
	@echo 'make bench   the figures beside Podman and conmon'
	@echo 'make fuzz    each parser of foreign bytes under libFuzzer, FUZZ_SECONDS=60 for each'
	@echo 'make soak    the tests that take longer than a few minutes'
	@echo 'make clean   remove .venv and build/'

setup:
	@tools/setup

demo:
	@tools/setup
	@tools/demo

test:
	@tools/setup test
	@tools/run-tests

check:
	@tools/setup test check
	@tools/check

bench:
	@tools/setup bench
	@tools/bench

fuzz:
	@tools/setup fuzz
	@tools/fuzz

soak:
	@tools/setup test
	@tools/soak

clean:
	rm -rf .venv build
