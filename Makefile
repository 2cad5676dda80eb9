# Everything a user or developer does, from a fresh clone. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHEAF := $(BIN)/sheaf
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench bench-train train compare all-experiments results images pictures transcripts clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

run: $(VENV)/.run  ## install, train experiments/paraboloid.yaml, diagnose it
	$(SHEAF) train experiments/paraboloid.yaml --resume
	$(SHEAF) diagnose results/paraboloid
	@echo "The run is in results/paraboloid: tables as CSV, pictures in figures/, network.npz."

test: lint  ## run all checks and tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev  ## format check, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench  ## time a step against PyTorch, and the exact solver against the flow
	$(BIN)/python benchmarks/joint_step.py --write
	$(BIN)/python benchmarks/theory.py --write
	$(BIN)/python benchmarks/results_page.py

train: $(VENV)/.run  ## train CONFIG=file.yaml (continues it if it was begun)
	$(if $(CONFIG),,$(error give a configuration: make train CONFIG=experiments/saddle.yaml))
	$(SHEAF) train $(CONFIG) --resume

compare: $(VENV)/.run  ## show the runs RUNS="results/a results/b" side by side
	$(if $(RUNS),,$(error give run directories: make compare RUNS="results/a results/b"))
	$(SHEAF) compare $(RUNS)

all-experiments: $(VENV)/.datasets  ## train every file of experiments/ that is not done yet
	@for config in experiments/*.yaml; do $(SHEAF) train $$config --resume || exit 1; done

results: $(VENV)/.dev  ## measure the eight rows of the paper's table anew, into docs/results.md
	$(BIN)/python benchmarks/paper_rows.py
	$(BIN)/python benchmarks/results_page.py

bench-train: $(VENV)/.bench $(VENV)/.datasets  ## all training methods beside PyTorch, into docs/results.md (80 minutes on two cores)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/variants.py
	$(BIN)/python benchmarks/real_data.py
	$(BIN)/python benchmarks/results_page.py

images: $(VENV)/.run  ## make results/handwriting.npz, 60,000 images in ten classes, to train on
	$(BIN)/python benchmarks/handwriting.py results/handwriting.npz

pictures: $(VENV)/.run  ## draw the images of docs/ anew
	mkdir -p docs/images
	folder=$$(mktemp -d) && \
	$(SHEAF) train experiments/paraboloid.yaml --output $$folder/paraboloid --quiet && \
	$(SHEAF) train experiments/saddle.yaml --output $$folder/saddle --quiet && \
	$(SHEAF) diffuse $$folder/saddle --samples 3 --format csv >/dev/null && \
	$(SHEAF) spectrum $$folder/saddle --format csv >/dev/null && \
	cp $$folder/paraboloid/figures/learned.png $$folder/paraboloid/figures/discord.png docs/images/ && \
	cp $$folder/saddle/figures/diffusion_*.png $$folder/saddle/figures/spectrum.png docs/images/ && \
	rm -rf $$folder

transcripts: $(VENV)/.dev  ## run the transcripts of README.md and docs/ anew
	$(BIN)/python tests/docs/transcripts.py

clean:  ## remove the environment and caches; results stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The environment grows by stamps: what a target needs is installed once, and again when the versions change.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	@touch $@

$(VENV)/.datasets: $(VENV)/.run
	$(PIP) -e '.[datasets]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[datasets,dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) -e '.[bench]'
	@touch $@
