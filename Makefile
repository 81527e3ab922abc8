# The two commands that set everything up are `make run` and `make test`; the environment is made by whichever comes first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := run
.PHONY: setup run test test-data tables ui perf

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUN := $(BIN)/mcr-bench

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; name one with: make PYTHON=/path/to/python setup" >&2; exit 1; }
	@echo "Making the environment in .venv (a few minutes, once)."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@mkdir -p .typecheck && ln -sfn .. .typecheck/mcr_bench
	@touch $@

run: $(STAMP)
	@$(RUN) run --methods all --dataset synthetic
	@printf '\nNext:\n'
	@printf '  %s\n' \
	  '$(RUN) describe ogm                                  the card of a method' \
	  '$(RUN) run --methods all --dataset synthetic --plan  what is finished' \
	  '$(RUN) run --methods joint,mcr --dataset synthetic --set mcr.strategy=greedy,independent' \
	  '$(RUN) run --methods all --dataset FILE.npz          your own data' \
	  '$(RUN) results --csv runs.csv                        one row per run' \
	  'make tables                                                  Markdown, CSV and LaTeX' \
	  'make ui                                                      every curve of every run, in the browser'

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.typecheck $(BIN)/mypy -p mcr_bench.bench -p mcr_bench.methods -p mcr_bench.datasets -m mcr_bench.cli
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

tables: $(STAMP)
	@$(RUN) tables

ui: $(STAMP)
	@$(RUN) ui

test-data: $(STAMP)
	@rm -rf .test-data && mkdir .test-data
	@OMP_NUM_THREADS=1 $(BIN)/python tests/datasets/test_paper_sets.py .test-data

perf: $(STAMP)
	@$(BIN)/python -m mcr_bench.bench.perf.methods
	@$(BIN)/python -m mcr_bench.bench.perf.isolation
	@$(BIN)/python -m mcr_bench.bench.perf.data
