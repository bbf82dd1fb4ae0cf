# Everything starts here: `make call` shows a call, `make test` checks everything. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOM ?= demo
SOURCE ?= portrait
PORT ?= 8080
SECONDS_OF_SOAK ?= 600
SEED ?= 1
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup web browser redis call test lint types unit test-web checkers nightly bench bench-network bench-relay soak lock teacher portrait clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready  ## make .venv with everything that a call and the tests need, and the command .venv/bin/visavis

# Every package but torch comes with the hashes of requirements-dev.lock (docs/requirements.md says why not torch). The
# editable install makes the command visavis; setuptools is there already: nothing more to fetch.
$(VENV)/.ready: requirements.txt requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# What the page needs to send motion: networks and constants out of the weights, and a runtime for them from npm, as
# locked in client_web/package-lock.json. Without npm the page offers the camera alone, and says why. Networks are those of
# VISAVIS_WEIGHTS, as the receiver's: motion means something under its weights alone.
web: client_web/built/manifest.json client_web/built/runtime.json  ## make client_web/built: what the page needs to send motion

# Times of files do not tell that other weights are set than the last time.
ifneq ($(strip $(VISAVIS_WEIGHTS)),$(shell cat client_web/built/.weights 2>/dev/null))
.PHONY: client_web/built/manifest.json
endif

client_web/built/manifest.json: $(VENV)/.ready $(wildcard model/weights/*.safetensors) $(VISAVIS_WEIGHTS) model/web_export.py
	$(BIN)/python -m model export --web client_web/built $(if $(VISAVIS_WEIGHTS),--weights "$(VISAVIS_WEIGHTS)")
	echo "$(VISAVIS_WEIGHTS)" >client_web/built/.weights

client_web/built/runtime.json: client_web/package-lock.json client_web/vendor.mjs
	@if ! command -v npm >/dev/null; then echo "npm is missing: the page will send the camera's picture, not motion" >&2; \
	elif ! (cd client_web && npm ci --ignore-scripts --no-progress --loglevel=error --fetch-retries=1 --fetch-timeout=20000 && node vendor.mjs); then \
	  echo "npm could not fetch what the page needs to send motion: it will send the camera's picture" >&2; fi

browser:  # Debian's Chromium, Node and npm for the browser tests, where they are missing and can be installed
	@if command -v chromium >/dev/null && command -v node >/dev/null && command -v npm >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
	    $$(command -v node >/dev/null || echo nodejs) $$(command -v npm >/dev/null || echo npm) >/dev/null; \
	else echo "make test drives Chromium and Node; please install the packages chromium, nodejs and npm" >&2; exit 1; fi

redis:  # Debian's redis-server for the tests of several nodes, where it can be installed; without it they are skipped
	@if ! command -v redis-server >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; fi

call: setup web  ## a call on http://localhost:8080 with a built-in talker (SOURCE=camera, SOURCE=file.mp4, ROOM=, PORT=)
	$(BIN)/visavis call --source "$(SOURCE)" --room "$(ROOM)" --port "$(PORT)"

test: setup browser redis web lint types test-web unit  ## lint, types, and all tests, the browser ones included

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test-web: web
	node --test tests/client_web/*.test.mjs

# One thread a process: the tests' small batches gain nothing from more, and lose much when cores are shared.
unit: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

nightly: setup  ## a million damaged motion messages
	VISAVIS_MUTATIONS=1000000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/model/codec/test_fuzz.py --timeout 3600

soak: setup  ## ten minutes of two senders, four viewers and floods: memory, tasks, descriptors, /healthz
	$(BIN)/python -m server.benchmark.soak --seconds "$(SECONDS_OF_SOAK)"

# promtool is taken out of Debian's package, which would start a Prometheus where it is installed.
checkers:  ## .venv-deploy: what the tests check deploy/ with; without it they skip those checks and say so
	test -x .venv-deploy/bin/python || $(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-deploy.lock
	@if command -v promtool >/dev/null || [ -x .venv-deploy/bin/promtool ]; then :; \
	elif command -v apt-get >/dev/null; then cd .venv-deploy && apt-get download -qq prometheus && \
	  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -C bin --strip-components=3 ./usr/bin/promtool && rm prometheus_*.deb; \
	else echo "promtool is missing: alert rules will not be checked" >&2; fi

bench: setup  ## performance of this machine, as JSON
	$(BIN)/visavis bench --json
	$(BIN)/visavis bench-call --viewers 3 --json

bench-network: setup  ## calls over bad lines in virtual time: loss, jitter, outages, bottlenecks; a table (SEED=)
	$(BIN)/python -m server.benchmark.network --seed "$(SEED)"

bench-relay: setup  ## the same lines between real processes, in real time, by a UDP relay; a table (SEED=)
	$(BIN)/python -m server.benchmark.relay --seed "$(SEED)"

teacher:  ## the training teacher's own environment, .venv-teacher
	test -x .venv-teacher/bin/python || $(PYTHON) -m venv .venv-teacher
	.venv-teacher/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-teacher.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-train.lock
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"

# Each *.lock anew from its requirements file: versions that still fit stay; UPGRADE="--upgrade" takes the newest.
# torch and its CUDA libraries are left out (docs/requirements.md).
UPGRADE ?=
LOCK = .venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
  --quiet --custom-compile-command "make lock" $(UPGRADE)

lock:  ## write the lock files anew, after a change of requirements*.txt
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv==0.13.9; }
	left_out="$$($(LOCK) requirements-train.txt | grep -oE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)' | sort -u | sed 's/^/--no-emit-package /')"; \
	for name in requirements requirements-dev requirements-train requirements-deploy; do \
	  $(LOCK) $$left_out $$name.txt -o $$name.lock || exit 1; done
	$(LOCK) --no-deps requirements-teacher.txt -o requirements-teacher.lock

portrait: setup  ## record the built-in talker anew from CLIP, a film of somebody talking; after each change of weights
	$(BIN)/python -m server.benchmark.record_portrait "$(CLIP)"

clean:  ## remove everything that the targets made
	rm -rf $(VENV) .venv-teacher .venv-lock .venv-deploy client_web/built client_web/node_modules out visavis.egg-info .pytest_cache \
	  .mypy_cache .ruff_cache .hypothesis
