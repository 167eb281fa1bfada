# Everything that this project does with one command. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
MINUTES ?= 2
TEST_PROCESSES ?= 3

BIN := $(VENV)/bin
MAURY := $(BIN)/maury
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder
INSTALLED := $(VENV)/.installed
DEVELOP := $(VENV)/.develop

.DEFAULT_GOAL := help
.PHONY: help env demo test benchmarks lint format docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "maury needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(VENV)/pyvenv.cfg pyproject.toml requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -e .
	@touch $@

$(DEVELOP): $(VENV)/pyvenv.cfg pyproject.toml requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -e '.[dev]'
	@touch $(INSTALLED) $@

env: $(DEVELOP) ## make the environment .venv with everything for development

demo: $(INSTALLED) ## the whole road in about five minutes: grid, network, report, a star
	@printf '\n== 1. A grid of 51,359 synthetic spectra, made by the packaged emulator\n\n'
	$(MAURY) grid build --preset spc --out $(DEMO)/spc.h5
	$(MAURY) grid info $(DEMO)/spc.h5
	@printf '\n== 2. The founding network, trained on it for $(MINUTES) minutes at most\n\n'
	$(MAURY) networks show starnet-spc
	$(MAURY) train --preset starnet-spc --grid $(DEMO)/spc.h5 --out $(DEMO)/run --epochs 2 --max-time $(MINUTES)
	@printf '\n== 3. A report: how far its labels are from the truth\n\n'
	$(MAURY) evaluate $(DEMO)/run --out $(DEMO)/report
	@printf '\n== 4. A star: simulated with noise, its true labels beside those of the network\n\n'
	$(MAURY) emulator star --teff 6100 --logg 4.2 --mh -0.3 --vsini 12 --snr 80 --out $(DEMO)/star.ecsv
	$(MAURY) predict $(DEMO)/star.ecsv --model $(DEMO)/run --plot $(DEMO)/figures
	@printf '\nThe same star by the default network, refined: with errors, and the abundances of single elements:\n\n'
	$(MAURY) predict $(DEMO)/star.ecsv --labels abundances --no-systematics --plot $(DEMO)/figures-default
	@printf '%s\n' '' 'Made:' \
	  '  $(DEMO)/spc.h5                 the grid' \
	  '  $(DEMO)/run/                   the network after $(MINUTES) minutes: settings, logs, model.safetensors' \
	  '  $(DEMO)/report/report.html     its figures and errors: open it in a browser' \
	  '  $(DEMO)/star.ecsv, figures/    the simulated star, and the fit drawn over it; figures-default/ the default fit' \
	  '' 'Next:' \
	  '  $(MAURY) predict YOUR_SPECTRUM --resolution R    a file of any spectrograph, of resolution R' \
	  '  $(MAURY) train --preset starnet-spc --grid $(DEMO)/spc.h5 --out runs/founding    to the end' \
	  '  $(MAURY) --help'

test: $(DEVELOP) ## run the tests
	$(PYTEST) --ignore=tests/test_benchmarks.py

benchmarks: $(DEVELOP) ## run every benchmark briefly, on tiny inputs
	$(PYTEST) tests/test_benchmarks.py

lint: $(DEVELOP) ## check style, types and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEVELOP) ## format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEVELOP) ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

lock: $(DEVELOP) ## renew requirements-dev.lock
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra dev --strip-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --output-file $(VENV)/lock.txt pyproject.toml
	{ sed -n '/^#/p' requirements-dev.lock; sed '/^maury/d; s/^\(.*==[^+]*\)+.*/\1/' $(VENV)/lock.txt; } > $(VENV)/new.lock
	mv $(VENV)/new.lock requirements-dev.lock

clean: ## remove everything that can be made again
	rm -rf $(VENV) $(DEMO) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
