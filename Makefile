# make demo: the whole chain on embedded photographs; make test: all tests but the
# long campaigns of make torture. Both set up .venv first. make test-lowest: the same tests
# with the lowest versions that setup.cfg allows, in .venv-lowest.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
SCRIPTS := bin
ifeq ($(OS),Windows_NT)
SCRIPTS := Scripts
endif
BIN := $(VENV)/$(SCRIPTS)
STAMP := $(VENV)/.installed
LOWEST_BIN := $(LOWEST)/$(SCRIPTS)
LOWEST_STAMP := $(LOWEST)/.installed

.PHONY: demo test test-lowest test-isa torture lint docs bench bench-score bench-train bench-generate bench-study clean

demo: $(STAMP)
	$(BIN)/ntire-sr demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-lowest: $(LOWEST_STAMP)
	$(LOWEST_BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-isa: $(STAMP)
	$(BIN)/python tests/instruction_sets.py

torture: $(STAMP)
	$(BIN)/python -m pytest -m torture

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python tests/check_types.py

bench: $(STAMP)
	$(BIN)/python benchmarks/anchors.py

bench-score: $(STAMP)
	$(BIN)/python benchmarks/score.py

bench-train: $(STAMP)
	$(BIN)/python benchmarks/train.py

bench-generate: $(STAMP)
	$(BIN)/python benchmarks/generate.py

bench-study: $(STAMP)
	$(BIN)/python benchmarks/study.py

docs: $(STAMP)
	$(BIN)/python tests/write_docs.py

# Made again only when what it is made from changes.
$(STAMP): setup.cfg setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	$(BIN)/python -c "open('$(STAMP)', 'w').close()"

$(LOWEST_STAMP): setup.cfg setup.py pyproject.toml constraints.txt tests/lowest_versions.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST_BIN)/python tests/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST_BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt setuptools
	$(LOWEST_BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt -e '.[test]'
	$(LOWEST_BIN)/python -c "open('$(LOWEST_STAMP)', 'w').close()"

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info
