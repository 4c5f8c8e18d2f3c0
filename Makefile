# Every target sets up what it needs, in .venv, from the versions pinned in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-web test-helm soak fuzz check messages format docs clean

# Train a tiny model on an invented world and measure it: about three minutes on two cores, no network.
demo: $(READY)
	$(BIN)/milepost demo

# A file's tests stay in one process, as they share what was slow to make. Compiled tests are kept, even under
# PYTHONDONTWRITEBYTECODE (containers set it): pytest rewrites the assertions of every file, ten seconds a process.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(READY)
	$(PYTEST) -m "not slow and not browser"

# Real trainers, kills and full disks, every architecture, the emulated GPU path: as long again.
test-slow: $(READY)
	$(PYTEST) -m "slow and not browser"

# The dashboard in Chromium (from the system's packages), driven by Playwright; axe-core, from npm, looks for what
# keeps people out. Where a browser or npm is missing, the tests that need it skip and say so.
AXE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/milepost-tests/axe.min.js

test-web: $(READY)
	tests/web/browser/get_axe.sh $(AXE)
	MILEPOST_AXE=$(AXE) $(BIN)/python -m pytest -m browser tests/web/browser

# HELM's scenarios beside HELM's own runs, in an environment of its own: crfm-helm holds datasets below 4. It is kept in
# the cache from one run, and one clone, to the next. Where it cannot be installed, the reason is printed.
HELM_VENV ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/milepost-tests/helm-$(shell cat pyproject.toml constraints.txt constraints-helm.txt | sha256sum | cut -c1-12)

test-helm: $(READY)
	@if PYTHON=$(PYTHON) tests/tasks/helm/install.sh $(HELM_VENV); then \
	  PYTHONPATH=src $(HELM_VENV)/bin/python -m pytest -p no:cacheprovider tests/tasks/helm; \
	else echo "tests/tasks/helm skipped: crfm-helm could not be installed, see above"; fi

# Fifty kills in one series and every other fault; says what happened in soak-report.json.
soak: $(READY)
	MILEPOST_KILLS=50 MILEPOST_SOAK_REPORT=soak-report.json $(BIN)/python -m pytest tests/faults

# Random tasks against lm_eval on six architectures, random damage to results, random statistics: MILEPOST_FUZZ examples
# (default 200) within MILEPOST_FUZZ_SECONDS (3600), from MILEPOST_FUZZ_SEED on; fuzz-report.json says what happened.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs src benchmarks/*.py
	$(BIN)/python -m pytest -q tests/project/test_layers.py

# The guides and the library's reference as a site, in site/index.html.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Bring the catalogues of translations up to the texts of the code; says how many lack a translation.
messages: $(READY)
	$(BIN)/python -m translations.catalogue

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo-out site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# `pip install --group` came with pip 25.1, so pip itself is brought up to date first. What is only linked to pip
# does not compile, and under PYTHONDONTWRITEBYTECODE (containers set it) every command would do so again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	$(BIN)/python -m compileall -q src
	touch $@
