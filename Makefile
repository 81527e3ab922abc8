# The two commands that set everything up are `make run` and `make test`; the environment is made by whichever comes first.
#
# `make heads` writes the table of methods and fusion heads into docs/nets.md; `make cards` the table of methods into
# docs/methods.md and the register of defects, docs/defects.md.
# `make docs` builds the documentation site in build/site; warnings are errors.
# `make perf` measures, and writes docs/performance.md; `make test-gpu` makes the checks that need a GPU.
# `make faults` tries what can go wrong around a training, and writes docs/faults.md.
# `make test-all` makes the tests that are marked as slow, too.
#   DEVICE=cpu|cuda|cuda:N   where; by default perf takes a GPU if there is one, and test-gpu exits with 0 if there is none
#   PART="steps methods"     only these parts; without it perf measures the parts that are not yet measured
#   PYTHON=python3 NO_SETUP=1   with this Python and the packages that it has, without making .venv; what is missing is
#                            named, and its part is left out
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := run
.PHONY: setup run test test-all test-gpu test-data faults tables heads cards docs ui perf

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUN := $(BIN)/mcr-bench
# What perf and test-gpu need before they start, and the Python that runs them.
ifdef NO_SETUP
READY := .typecheck/mcr_bench
MODULE := PYTHONPATH='$(CURDIR)/.typecheck$(if $(PYTHONPATH),:$(PYTHONPATH))' $(PYTHON) -m
else
READY := $(STAMP)
MODULE := $(BIN)/python -m
endif

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; name one with: make PYTHON=/path/to/python setup" >&2; exit 1; }
	@echo "Making the environment in .venv (a few minutes, once)."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@mkdir -p .typecheck && ln -sfn .. .typecheck/mcr_bench
	@touch $@

run: $(STAMP)
	@$(RUN) run --methods table1 --dataset synthetic --seeds 8
	@printf '\nNext:\n'
	@printf '  %s\n' \
	  '$(RUN) describe ogm                                  the card of a method' \
	  '$(RUN) run --methods table1 --dataset synthetic --seeds 8 --plan   what is finished' \
	  '$(RUN) list methods                                  all methods and their groups' \
	  '$(RUN) run --methods joint,mcr --dataset synthetic --set mcr.strategy=greedy,independent' \
	  '$(RUN) data info av-digits                           a second set: spoken and written digits, what to download' \
	  '$(RUN) data prepare av-digits --source DIR           seconds; then' \
	  '$(RUN) run --methods table1 --dataset av-digits      training both loses to the better one alone' \
	  '$(RUN) run --methods table1 --dataset FILE.npz       your own data' \
	  '$(RUN) results --csv runs.csv                        one row per run' \
	  'make tables                                                  Markdown, CSV and LaTeX' \
	  'make ui                                                      every curve of every run, in the browser'

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.typecheck $(BIN)/mypy -p mcr_bench.bench -p mcr_bench.methods -p mcr_bench.datasets -m mcr_bench.cli
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m 'slow or not slow'

faults: $(STAMP)
	@MCR_BENCH_FAULTS_PAGE=docs/faults.md OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m 'slow or not slow' tests/faults

tables: $(STAMP)
	@$(RUN) tables

heads: $(STAMP)
	@$(BIN)/python -m mcr_bench.bench.report.head_table

cards: $(STAMP)
	@$(BIN)/python -m mcr_bench.bench.testing.method_table

docs: $(STAMP)
	@$(BIN)/python -c 'import furo, myst_parser, sphinx' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/site
	@echo "The site is in build/site; it begins with index.html."

ui: $(STAMP)
	@$(RUN) ui

test-data: $(STAMP)
	@rm -rf .test-data && mkdir .test-data
	@OMP_NUM_THREADS=1 $(BIN)/python tests/datasets/test_paper_sets.py .test-data

.typecheck/mcr_bench:
	@mkdir -p .typecheck && ln -sfn .. $@

perf: $(READY)
	@$(MODULE) mcr_bench.bench.perf.command $(if $(DEVICE),--device '$(DEVICE)') $(if $(PART),--part '$(PART)')

test-gpu: $(READY)
	@OMP_NUM_THREADS=1 $(MODULE) mcr_bench.tests.gpu.run $(if $(DEVICE),--device '$(DEVICE)') $(if $(PART),--part '$(PART)')
