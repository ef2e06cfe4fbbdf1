# Needs python3 (>= 3.11), make, and a package registry that pip reaches. Everything is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DOCS   := $(VENV)-docs
# Tests wait for about a third of their time, so three workers keep two processors at work.
WORKERS = $(shell $(PYTHON) -c 'import os; print(max(2, os.cpu_count() * 3 // 2))')
PYTEST  = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# Files that begin with _ are imported by others; make_* write tables that the package ships.
BENCHMARKS = $(filter-out benchmarks/_% benchmarks/make_%,$(sort $(wildcard benchmarks/*.py)))

.DEFAULT_GOAL := help
# Tests start hundreds of processes: each would compile the plugin again where what is compiled is not kept.
unexport PYTHONDONTWRITEBYTECODE
# The oldest and the newest supported Victor.
VICTORS ?= victor-ai==0.9.0 victor-ai>=0.9,<1
# A checkout of Victor's repository, for victor-tests.
VICTOR_SOURCE ?=

.PHONY: help setup demo test browser screenshots test-victors victor-tests lint pytest format docs docs-serve tutorials benchmarks counts package recording lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the locked development environment into $(VENV)"
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY)  ## Create .venv, or renew it after the lock or pyproject.toml changed

demo: $(READY)  ## Watch a team get tuned: A/B test, promotion, regression, rollback
	@$(BIN)/python examples/demo.py

test: $(READY)  ## Run everything that CI runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
# Victor keeps 20 MB of each team run, and what a process holds slows all that it does later: so its tests have their own.
	@mkdir -p build && $(MAKE) --no-print-directory lint > build/lint.txt 2>&1 & lint=$$!; \
		$(PYTEST) --ignore tests/host; tests=$$?; \
		$(PYTEST) tests/host || tests=$$?; \
		wait $$lint; linted=$$?; cat build/lint.txt; exit $$((tests > linted ? tests : linted))

browser: $(READY)  ## Install Chromium for the tests of the page, or name the one that is there
	@$(BIN)/python -c 'import sys; from victor_autotune_testing.browser import find; sys.exit(find() is None)' \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; }
	@$(BIN)/python -m victor_autotune_testing.browser

screenshots: $(READY)  ## Draw the pages into docs/images: every page at four widths, light and dark
	@$(BIN)/python -m victor_autotune_testing.screenshots docs/images

test-victors: $(READY)  ## Run tests/host on the oldest and the newest supported Victor, each in a venv in build/
	@for victor in $(foreach one,$(VICTORS),"$(one)"); do \
		venv="build/$$(echo "$$victor" | tr -c 'a-z0-9.\n' '-')"; \
		echo "== $$victor in $$venv"; \
		$(PYTHON) -m venv "$$venv" && bin="$$venv/bin/python" || exit 1; \
		$$bin -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-dev.lock || exit 1; \
		$$bin -m pip --disable-pip-version-check install --quiet --upgrade "$$victor" || exit 1; \
		$$bin -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable . || exit 1; \
		$$bin -m pytest --numprocesses logical tests/host || exit 1; \
	done

victor-tests: $(READY)  ## Run Victor's own tests without the plugin, in observe and in auto: VICTOR_SOURCE=DIR
	@$(BIN)/python -m victor_autotune_testing.victors_tests $(VICTOR_SOURCE)

lint: $(READY)  ## Check style, types, the layers, and the English
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m victor_autotune_testing.prose

pytest: $(READY)  ## Run the tests that need no real Victor and no patience
	$(PYTEST) -m "not victor and not slow"

format: $(READY)  ## Format the code and fix what ruff can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(DOCS)/.ready: requirements-docs.lock
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@echo "Installing the locked tools of the docs site into $(DOCS)"
	@$(DOCS)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-docs.lock
	@touch $@

tutorials: $(READY)  ## Follow the tutorials and the walkthrough of a fleet word by word on real Victor, which takes minutes
	AUTOTUNE_TUTORIALS=1 $(BIN)/python -m pytest tests/docs/test_tutorials.py tests/docs/test_fleet_page.py

docs: $(DOCS)/.ready  ## Build the docs site into build/site; any warning fails
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict  # with --quiet it would count no warning

docs-serve: $(DOCS)/.ready  ## Show the docs site while you write it
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs serve

benchmarks: $(READY)  ## Run every benchmark (several minutes on an idle machine)
	@for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

counts: $(READY)  ## Count modules, lines, names, and the files that a run passes through
	@$(BIN)/python -m victor_autotune_testing.counts; counted=$$?; \
		$(BIN)/python -m victor_autotune_testing.way_of_a_run && exit $$counted

package: $(READY)  ## Build wheel and sdist into dist/
	$(BIN)/python -m build --no-isolation

recording: $(READY)  ## Record `watch` in a terminal as docs/images/watch.cast
	@$(BIN)/python -m victor_autotune_testing.recording docs/images/watch.cast

lock: $(READY)  ## Renew requirements-dev.lock and requirements-docs.lock
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet "uv>=0.9"
	@$(BIN)/uv pip compile pyproject.toml --group dev --extra postgres --universal --fork-strategy fewest \
		--generate-hashes --no-annotate --no-header --upgrade --quiet --output-file $(VENV)/lock
	@{ echo "# The development environment, made by: make lock"; \
	   echo "# One list for CPython 3.11 to 3.13. Victor needs numpy < 2.3, which has no wheels for later versions."; \
	   cat $(VENV)/lock; } > requirements-dev.lock
	@$(BIN)/uv pip compile --group docs --universal --fork-strategy fewest \
		--generate-hashes --no-annotate --no-header --upgrade --quiet --output-file $(VENV)/docs-lock
	@{ echo "# What builds the docs site, made by: make lock"; cat $(VENV)/docs-lock; } > requirements-docs.lock

clean:  ## Remove .venv, caches and build results
	rm -rf $(VENV) $(DOCS) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
