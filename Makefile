# Every target sets up what it needs in .venv; nothing has to be installed by hand.
#
#   make eval                          the embedded model on the embedded benchmarks, on any machine
#   make eval TASK=pocket_choice LIMIT=20
#   make eval TASK=mmmu                the official 8B checkpoint (needs a GPU and the hub)

TASK    ?= pocket
MODEL   ?= $(if $(filter pocket%,$(TASK)),pocket,GSAI-ML/LLaDA-V)
LIMIT   ?=
DATA    ?=
ARGS    ?=
PYTHON  ?= python3
THREADS ?=
VENV    := .venv
BIN     := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help eval compare sweep leaderboard test lint pocket bench clean

help:  ## list the targets
	@echo "Targets:"
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "Knobs of make eval: TASK=$(TASK) MODEL=$(MODEL) LIMIT=N DATA=DIR ARGS='--seed 1'   (lladav-eval run --help lists all)"
	@echo "make test: THREADS=2 ARGS='-k word'; all: PYTHON=$(PYTHON)"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: Python 3.10 or newer is needed; set PYTHON=python3.x"; exit 3; }
	@echo "Setting up $(VENV) (once; several minutes, most of it torch) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

eval: $(VENV)/installed  ## evaluate MODEL on TASK, print the table, leave results/runs/<id>
	@$(BIN)/lladav-eval run --task=$(TASK) --model=$(MODEL) $(if $(LIMIT),--limit=$(LIMIT)) $(if $(DATA),--data=$(DATA)) $(ARGS)

compare: $(VENV)/installed  ## the embedded model beside its autoregressive twin: quality, cost, paired statistics
	@$(BIN)/lladav-eval run --task pocket --model pocket --out results/runs/pocket
	@$(BIN)/lladav-eval run --task pocket --model pocket-ar --out results/runs/pocket-ar
	@$(BIN)/lladav-eval compare results/runs/pocket results/runs/pocket-ar --out results/comparison

sweep: $(VENV)/installed  ## the embedded model over steps, block lengths and caches: table and Pareto plots
	@$(BIN)/lladav-eval sweep --task pocket_counts --model pocket --steps 1,2,4,8,16 --block-length 8,16 --cache none,prefix,dual,dllm \
		--baseline pocket-ar --out results/sweeps/pocket_counts $(ARGS)

leaderboard: $(VENV)/installed  ## write results/leaderboard.md again
	@$(BIN)/lladav-eval leaderboard $(patsubst %/manifest.json,%,$(sort $(wildcard results/baselines/*/manifest.json))) --out results/leaderboard.md

test: $(VENV)/installed-dev  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(or $(THREADS),2) $(ARGS)

lint: $(VENV)/installed-dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pocket: $(VENV)/installed-dev  ## train the embedded model and its autoregressive twin again (up to two hours)
	$(BIN)/python -m lladav_eval.pocket.train $(ARGS)

bench: $(VENV)/installed-dev  ## time exact and approximate generation, batching, the run loop and the start; JSON lines
	$(BIN)/python benchmarks/generation.py $(ARGS)
	$(BIN)/python benchmarks/generation.py --prompt-length 1000 $(ARGS)
	$(BIN)/python benchmarks/caches.py
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/run_loop.py
	$(BIN)/python benchmarks/start.py

clean:  ## remove the environment, caches and builds (results stay)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
