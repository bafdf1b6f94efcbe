# make demo: set up, then run the whole pipeline here. make test: set up, then run every test. make help: the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
FURNITURE := .furniture
SHELL := /bin/sh

.PHONY: help setup furniture demo test test-heavy test-images images check format clean

help:
	@echo "make demo        set up, then run the whole pipeline on this machine: python pipeline.py --local --profile demo"
	@echo "make test        set up, then run every test but the heavy ones"
	@echo "make test-heavy  the heavy ones"
	@echo "make test-images builds the container images without a registry and runs stages in them (root, buildah, debootstrap)"
	@echo "make images      the container images: render and train, with buildah or docker"
	@echo "make check       ruff, mypy, import-linter, golden pipeline YAML"
	@echo "make setup       only make .venv"
	@echo "make furniture   only fetch the CAD furniture (Debian package, no root)"
	@echo "make format      let ruff format the code"
	@echo "make clean       remove .venv and caches; artifacts stay"

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@sh scripts/setup.sh "$(PYTHON)" .venv
	@touch $@

furniture: ; @sh scripts/fetch_furniture.sh $(FURNITURE)

demo: setup furniture
	$(BIN)/python pipeline.py --local --profile demo

test: setup furniture
	$(BIN)/python -m pytest -m "not heavy and not images"

test-heavy: setup furniture
	$(BIN)/python -m pytest -m heavy

test-images: setup furniture
	$(BIN)/python -m pytest -m images

images:
	images/build.sh render
	images/build.sh train

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_pipeline.py -k golden

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
