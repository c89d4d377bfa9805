# Everything is installed in .venv. `make PYTHON=python3.12` makes it with another Python.
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.whylike-setup
UNFINISHED := $(VENV)/.whylike-unfinished
TYPING := $(VENV)/typing

.PHONY: setup demo test lint clean help

setup: $(STAMP) ## install whylike and what it needs in .venv (the default)

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "whylike needs Python 3.11 or newer, and $(PYTHON) is not; name another one with make PYTHON=..." >&2; exit 1; }
	@# A run that was killed can have left half a package behind, which pip would take for a whole one: begin again.
	@if [ -e $(UNFINISHED) ]; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@echo "Installing in $(VENV): about 2.5 GB, some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	@# torch by its exact version, and first: a looser request can bring several GB of another build.
	$(PIP) install --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(PIP) install --no-deps --requirement requirements.lock --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm $(UNFINISHED) && touch $@

demo: setup ## explain three pairs of a small invented corpus
	@$(BIN)/whylike demo

test: lint ## all checks: style, types, tests
	$(BIN)/python -m pytest

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# The repository root is the package, whatever the clone is called: mypy looks from a folder where it is `whylike`.
	@mkdir -p $(TYPING) && ln -sfn ../.. $(TYPING)/whylike
	cd $(TYPING) && ../bin/mypy --config-file ../../pyproject.toml -p whylike

clean: ## remove caches and build outputs; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis $(TYPING)
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14
