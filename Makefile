# `make bench` and `make test` work as the first command on a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# Where it is set, as in many containers, every process that is started compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# The site is built in an environment of its own, which sees the packages of .venv behind its own.
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed

.PHONY: setup bench test faults lint docs clean

setup: $(STAMP)

# uv reads its own settings only, so the result does not depend on how pip is set up.
$(STAMP): setup.py constraints.txt
	@echo "Setting up .venv (log: .venv/setup.log) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==0.13.8" > .venv/setup.log 2>&1 \
		|| { cat .venv/setup.log; exit 1; }
	@VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --constraint constraints.txt --editable ".[onedl,test]" \
		>> .venv/setup.log 2>&1 || { tail -n 30 .venv/setup.log; exit 1; }
	@touch $(STAMP)

bench: setup
	@$(BIN)/mixmae-bench run configs/suites/digits.yaml

# A process per core, each with one thread; the tests of a file stay together, as they share what is slow.
test: setup
	@$(BIN)/ruff check .
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Kills, damaged files, a full disk and bad input, in real processes: at most 20 minutes.
faults: setup
	@$(BIN)/python tests/faults

lint: setup
	@$(BIN)/ruff check .

$(DOCS_STAMP): constraints-docs.txt $(STAMP)
	@echo "Setting up $(DOCS) (log: $(DOCS)/setup.log) ..."
	@rm -rf $(DOCS) && $(BIN)/python -m venv --without-pip $(DOCS)
	@VIRTUAL_ENV="$(CURDIR)/$(DOCS)" $(BIN)/uv pip install --requirement constraints-docs.txt \
		> $(DOCS)/setup.log 2>&1 || { cat $(DOCS)/setup.log; exit 1; }
	@packages=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
		&& own=$$($(DOCS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
		&& echo "import site; site.addsitedir('$$packages')" > "$$own/project.pth"
	@touch $(DOCS_STAMP)

# The pages are in site/: open site/index.html. The search needs a server: python -m http.server -d site
docs: setup $(DOCS_STAMP)
	@OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

# Results stay: `mixmae-bench clean SUITE` lists and removes what is stale in them.
clean:
	rm -rf .venv $(DOCS) site
