# Everything that a fresh machine with Python >= 3.11 needs. `make` lists the targets.
VENV ?= .venv
PYTHON ?= python3
# The environment of COMET, which cannot share ours; tests use it where it is.
COMET ?= .comet
# Two environments without this package, in which stock libraries open its exports.
STOCK ?= .stock
# Environments with the oldest and the newest versions that pyproject.toml accepts
COMPAT ?= .compat
# How many tests run side by side.
WORKERS ?= 2
# Tests and benchmarks: one thread beside a busy neighbour is faster than two. Compiled modules are kept, as every worker
# and hundreds of processes import the same.
TEST_ENV = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 \
	$(if $(wildcard $(COMET)/.installed),NEURONSPEC_COMET_PYTHON=$(abspath $(COMET))/bin/python)

.PHONY: help demo test test-fast attack lint check format docs bench browser nginx strace comet stock compat oldest clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neuronspec needs Python >= 3.11: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.installed  ## see it work: pretrain, find neurons, specialise, compare (about 5 minutes)
	$(VENV)/bin/neuronspec demo $(ARGS)

# Neighboring tests share models and runs: each worker takes half of them in one piece, and later what the other has left.
PYTEST = $(TEST_ENV) $(VENV)/bin/python -m pytest -q -n $(WORKERS) --dist worksteal

# mypy works beside the tests; its words come last, and it fails the target as they do.
test: lint  ## ruff, mypy, pytest
	@mkdir -p build; \
	$(VENV)/bin/mypy > build/mypy.log 2>&1 & types=$$!; \
	$(PYTEST) $(ARGS); tested=$$?; \
	wait $$types; typed=$$?; \
	cat build/mypy.log; exit $$((tested + typed))

test-fast: lint  ## ruff, and the tests that start no process, browser or whole run: at each change
	$(PYTEST) -m "not process and not architectures and not attack" $(ARGS)

attack: $(VENV)/.installed-dev  ## the tests that kill, mutate and overload for a long time
	$(PYTEST) -m attack $(ARGS)
	$(TEST_ENV) $(VENV)/bin/python -m tests.attack $(ATTACK)

strace:  ## install strace (Debian, as root), which records what a run does to its disk; tests skip without
	command -v strace || (apt-get update -qq && apt-get install -y -qq --no-install-recommends strace)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

check: lint
	$(VENV)/bin/mypy

$(COMET)/.installed: constraints.txt
	$(PYTHON) -m venv $(COMET)
	$(COMET)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(COMET)/bin/python -m pip install --quiet --disable-pip-version-check \
		unbabel-comet==2.2.7 'sentencepiece<0.2.2' 'setuptools<81'
	touch $@

comet: $(COMET)/.installed  ## set up COMET in an environment of its own, for the tests of it (1.4 GB)

$(STOCK)/.installed: constraints.txt
	for place in peft ct2; do $(PYTHON) -m venv $(STOCK)/$$place; done
	$(STOCK)/peft/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		torch transformers peft sentencepiece
	$(STOCK)/ct2/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		ctranslate2 transformers sentencepiece
	touch $@

stock: $(VENV)/.installed-dev $(STOCK)/.installed  ## open exports with stock PEFT and CTranslate2 alone; ARGS=--run=RUN adds a run
	$(TEST_ENV) $(VENV)/bin/python -m tests.stock.check \
		--peft $(STOCK)/peft/bin/python --ct2 $(STOCK)/ct2/bin/python $(ARGS)

compat:  ## the tests of models and exports with the oldest and newest versions of libraries and Python (minutes each)
	$(PYTHON) -m tests.compat --folder $(COMPAT) --workers $(WORKERS) $(ARGS)

oldest:  ## the same with the oldest versions alone
	$(PYTHON) -m tests.compat oldest --folder $(COMPAT) --workers $(WORKERS) $(ARGS)

browser:  ## install Chromium (Debian, as root), with which the report is tested; tests skip without
	command -v chromium || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)

nginx:  ## install nginx (Debian, as root), behind which instances of the service are replaced; tests skip without
	command -v nginx || test -x /usr/sbin/nginx || (apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light)

fuzz: $(VENV)/.installed-dev  ## read mutations of every kind of file (COUNT=10000 SEED=1): each is read or refused, and executes nothing
	$(TEST_ENV) $(VENV)/bin/python -m tests.fuzzing.attack --count $(COUNT) --seed $(SEED)

format: $(VENV)/.installed-dev  ## lay the code out
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.installed-dev  ## build the documentation site in build/docs, without a network
	$(VENV)/bin/python -m docs.builder.gather
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build
	@echo 'open build/docs/index.html'

bench: $(VENV)/.installed-dev  ## run the benchmarks (minutes)
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.training_loop
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.recording
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.masking
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.overlap
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.significance
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.translation
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.inference --vocabulary 64000 --kept 16000
	$(TEST_ENV) $(VENV)/bin/python -m benchmarks.serving

clean:  ## remove the virtual environment and what was built
	rm -rf $(VENV) $(COMET) $(STOCK) $(COMPAT) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
