# Every target works as the first command in a fresh clone: it makes .venv and installs what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint rules dashboards pictures bench-quality bench-speed fuzz soak setup system system-demo clean

demo: $(STAMP) system-demo
	@$(BIN)/anomaly-exporter demo

test: $(STAMP) system lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes the committed rules anew; a test compares them.
rules: $(STAMP)
	$(BIN)/anomaly-exporter rules --output rules
	$(BIN)/anomaly-exporter rules --format mixin --output rules/mixin
	$(BIN)/anomaly-exporter rules --format prometheusrule --output deploy

# Writes the committed dashboards anew; a test compares them.
dashboards: $(STAMP)
	$(BIN)/anomaly-exporter dashboards --output grafana

# Draws the dashboards with Grafana's own components into docs/img: needs Node, and 600 MB for them.
pictures: $(STAMP) system
	$(BIN)/python tests/dashboards/pictures.py

# Labelled data, a folder per set: BENCHMARKS.md says where to get it.
DATA ?= ../shared/data

bench-quality: $(STAMP)
	$(BIN)/python -m bench.quality --data $(DATA) --write BENCHMARKS.md

# How many series: 10k takes some 5 minutes, 100k some 15, 1m runs in the exporter alone.
SCALE ?= 100k

bench-speed: $(STAMP) system
	$(BIN)/python -m bench.speed --scale $(SCALE) --write BENCHMARKS.md

# How long each fuzz target runs, in a process of its own.
FUZZ_SECONDS ?= 60

fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,fuzz]'
	$(BIN)/python tests/fuzz/fuzzing.py --seconds $(FUZZ_SECONDS)

# The whole program beside a real Prometheus, with faults.
SOAK_MINUTES ?= 30
SOAK_SERIES ?= 10000
SOAK_SEED ?= 1

soak: $(STAMP) system
	$(BIN)/python -m bench.soak --minutes $(SOAK_MINUTES) --series $(SOAK_SERIES) --seed $(SOAK_SEED)

setup: $(STAMP) system

system:
	@sh tests/install-system-packages.sh

# What the demo runs, without what only the tests need.
system-demo:
	@sh tests/install-system-packages.sh demo

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which one: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "could not make $(VENV): on Debian, apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "compiling the numeric kernels, once ..."
	$(BIN)/anomaly-exporter compile
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
