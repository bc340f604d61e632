# make demo: install, draw stand-in data, train and test every head, draw the tables.
# make test: install, run the whole test suite.
# make test-fast: install, run the tests that take seconds.

PYTHON ?= python3
BENCH := .venv/bin/bench

.PHONY: install demo test test-fast
install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: install
	$(BENCH) data standin --size demo
	$(BENCH) run --variants all --train msmt --preset demo
	$(BENCH) report --format text markdown latex csv figures html

test: install
	.venv/bin/python -m pytest -n auto -m "not slurm"
	.venv/bin/python -m pytest -m slurm

test-fast: install
	.venv/bin/python -m pytest -n auto -m "not slow and not slurm"
