# `make demo` and `make test` set up what they need on the first call (a few minutes) and not again
# until the requirements change. They want Python 3.10 to 3.13, gcc and a package index for pip.
# The index should offer a CPU build of torch: on Linux the default build brings gigabytes of CUDA.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-speech demo-live bench test quick lint docs audit lock train-demo clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
TORCH := $(shell grep '^torch==' requirements.txt)

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)

HAS_ESPEAK = $(BIN)/python -c 'import ctypes; ctypes.CDLL("libespeak-ng.so.1")' 2>/dev/null
HAS_CHROMIUM = command -v chromium >/dev/null
HAS_NGINX = test -x /usr/sbin/nginx -o -x /usr/bin/nginx
HAS_PORTAUDIO = $(BIN)/python -c 'import ctypes; ctypes.CDLL("libportaudio.so.2")' 2>/dev/null
ESPEAK_TESTS = $(notdir $(shell grep -lsi espeak -r tests --include=test_*.py))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv with the pinned requirements (demo and test do this themselves)
	@:

# With HASHES=1 all but torch, whose hash depends on the index it comes from, is checked by its hash.
$(STAMP): requirements.txt requirements-dev.txt requirements.lock setup.py
	@[ -n "$(PYTHON)" ] || { echo "setup: needs Python 3.10 to 3.13 as python3.11 or python3, found none"; exit 1; }
	@echo "setup: $(VENV) with $$($(PYTHON) --version), once"
	@$(PYTHON) -m venv $(VENV)
	@echo "setup: $(TORCH)"
	@$(BIN)/pip install -qq -c requirements.txt $(TORCH)
	@echo "setup: requirements-dev.txt"
	@$(BIN)/pip install -qq $(if $(HASHES),--require-hashes --no-deps -r requirements.lock,-r requirements-dev.txt)
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@$(HAS_ESPEAK) || $(MAKE) -s espeak
	@touch $@

# Only where it can be done without asking: apt-get, as root or with a sudo that does not prompt.
.PHONY: espeak chromium portaudio nginx
espeak: PACKAGES := libespeak-ng1 espeak-ng-data espeak-ng
chromium: PACKAGES := chromium
portaudio: PACKAGES := libportaudio2
nginx: PACKAGES := nginx-light openssl
espeak chromium portaudio nginx:
	@if ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then run=env; elif sudo -n true 2>/dev/null; then run="sudo -n env"; else exit 0; fi; \
	echo "setup: $@, with apt-get"; \
	{ $$run apt-get update && $$run DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends $(PACKAGES); \
	} >$(VENV)/apt.log 2>&1 || echo "setup: apt-get failed, see $(VENV)/apt.log"

demo: export OMP_NUM_THREADS := 1
demo: $(STAMP) ## the latency-quality curves of the shipped model, into out/demo
	@$(BIN)/echostream curve --max-future-frames 0 1 --segment-sizes 320 \
		--policies ctc decoder:1 decoder:2 wait-k:3 wait-k:5 --jobs 2 --output out/demo

demo-speech: export OMP_NUM_THREADS := 1
demo-speech: $(STAMP) ## translations of the shipped model as speech, to be listened to, into out/demo-speech
	@$(BIN)/echostream speak models/fr-en-demo examples/fr-en/*000000[0-9].flac \
		--decoding-method decoder --lagging-k1 1 --output out/demo-speech

demo-live: export OMP_NUM_THREADS := 1
demo-live: $(STAMP) ## the shipped model behind a page at http://127.0.0.1:8000, until Ctrl-C
	@$(BIN)/echostream serve models/fr-en-demo --decoding-method decoder --lagging-k1 1 \
		--examples examples/fr-en --about "Travel, appointments, weather, prices and times, in the 399 \
	French words of a small grammar and the voices of a synthesiser; trained on no recordings of people."

bench: export OMP_NUM_THREADS := 1
bench: $(STAMP) ## speed, memory and start-up against their targets, into out/bench (some minutes)
	@$(BIN)/python benchmarks/run.py --output out/bench

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check --output-format concise .
	@$(BIN)/mypy

test: export OMP_NUM_THREADS := 1
test: lint ## ruff, mypy and all tests
	@$(HAS_ESPEAK) || echo "test: libespeak-ng1 is missing: tests in $(or $(ESPEAK_TESTS),no file) will be skipped"
	@$(HAS_CHROMIUM) || $(MAKE) -s chromium
	@$(HAS_CHROMIUM) || echo "test: chromium is missing: tests of the page will be skipped"
	@$(HAS_PORTAUDIO) || $(MAKE) -s portaudio
	@$(HAS_NGINX) || $(MAKE) -s nginx
	@$(HAS_NGINX) || echo "test: nginx is missing: the test of the proxy will be skipped"
	@$(HAS_PORTAUDIO) || echo "test: PortAudio is missing: the test of the microphone will be skipped"
	@$(BIN)/pytest -n 2 --dist loadfile

quick: export OMP_NUM_THREADS := 1
quick: $(STAMP) ## the tests of state, modules, models, sessions and scores (about a minute)
	@$(BIN)/pytest -n 2 --dist loadfile -m "not slow" \
		tests/streaming tests/modules tests/models tests/text tests/session tests/scoring

docs: export OMP_NUM_THREADS := 1
docs: $(STAMP) ## the pages of docs/, into out/docs (`make test` builds them as well)
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs out/docs
	@echo "docs: out/docs/index.html"

audit: $(STAMP) ## look the installed versions up in the list of known vulnerabilities (network)
	@$(BIN)/pip-audit --local --skip-editable --progress-spinner off

lock: ## requirements.lock, the pinned versions with hashes, from the two requirements files (uv, network)
	@echo torch | uv pip compile requirements-dev.txt --universal --python-version 3.10 --no-annotate \
		--custom-compile-command "make lock" --excludes /dev/stdin --generate-hashes -q -o requirements.lock

train-demo: $(STAMP) ## train the shipped model anew, into out/train (about five hours)
	@$(BIN)/echostream train configs/train/demo-fr-en.yaml

clean: ## remove .venv, out/ and what the tools leave behind
	rm -rf $(VENV) out build dist echostream.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
