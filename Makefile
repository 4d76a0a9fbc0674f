# Everything a fresh machine needs is Python (3.10 to 3.13) and make: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help env demo test faults tables figures claims report bench gpu numbers docs lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

env: $(READY) ## make the virtual environment in .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 10) <= sys.version_info < (3, 14), "mixbench needs Python 3.10 to 3.13, not " + sys.version.split()[0]'
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest (about 6 GB, some minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: env ## train Gaussian Mixup under SAM on handwritten digits
	$(BIN)/mixbench train augment=gmix opt=sam

test: env ## run all tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

faults: env ## inject every kind of fault, some minutes, and print the table of what survived
	$(BIN)/python scripts/faults.py -n 2 --dist worksteal

# Shorter runs, fewer seeds, several at once: make table-li2023-2 BUDGET=0.02 SEEDS=1 JOBS=2
SCALE := $(if $(BUDGET),--budget $(BUDGET)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

tables: env ## list the papers' tables and figures, and how far each is
	$(BIN)/mixbench tables

# li2023-2 is conf/paper/li2023/table2.yaml; zou2023-eta is conf/paper/zou2023/eta.yaml.
spec = $(or $(wildcard conf/paper/$(subst -,/table,$*).yaml),conf/paper/$(subst -,/,$*).yaml)

table-%: env ## reproduce a table, e.g. make table-li2023-2 BUDGET=0.02 SEEDS=1 JOBS=2
	$(BIN)/mixbench table $(patsubst conf/paper/%.yaml,%,$(spec)) --run $(SCALE)

figures: env ## draw every figure that has runs, into outputs/figures
	@for spec in conf/paper/*/fig*.yaml; do key=$${spec#conf/paper/}; \
		$(BIN)/mixbench figure $${key%.yaml} $(SCALE) || true; done

figure-%: env ## compute and draw a figure, e.g. make figure-zhang2021-3
	$(BIN)/mixbench figure $(firstword $(subst -, ,$*))/fig$(lastword $(subst -, ,$*)) --run

claims: env ## write what the papers claim and what we found, from results/, into docs/claims.md
	$(BIN)/mixbench claims --output-dir results --format md --out docs/claims.md

report: env ## one HTML page about all runs: report.html in outputs
	$(BIN)/mixbench report --out outputs/report.html

bench: env ## measure a training step of every method on this machine
	$(BIN)/mixbench bench

gpu: env ## with a GPU: tests, benchmarks, cells of a table, into results/gpu: make gpu MINUTES=30 OPTIONS=--dry-run
	$(BIN)/python scripts/gpu.py $(if $(MINUTES),--minutes $(MINUTES)) $(OPTIONS)

numbers: env ## put the measured numbers in results/ into docs
	$(BIN)/python scripts/measured.py

docs: $(VENV)/ready-docs ## the documentation as a site: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(VENV)/ready-docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

lint: env ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches (never outputs/)
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis dist build site
