# Everything a user or developer does, from a fresh clone. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHEAF := $(BIN)/sheaf
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# One installation at a time, also by `make -j`.
LOCK := $(if $(shell command -v flock),flock $(VENV)/.lock)
PIP := $(LOCK) env PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test test-machines lint format bench bench-train bench-localise bench-blame bench-causes bench-diff bench-startup train train-all sweep compare report runs imported zoo fuzz paper paper-quick bench-sweep images pictures docs transcripts clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

run: $(VENV)/.run  ## install, train experiments/paraboloid.yaml, diagnose it
	$(SHEAF) train experiments/paraboloid.yaml --resume
	$(SHEAF) diagnose results/paraboloid --figures
	@echo "The run is in results/paraboloid: tables as CSV, pictures in figures/, network.npz."

test: lint $(VENV)/.browser  ## run all checks and tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=$${OPENBLAS_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2

test-machines: $(VENV)/.dev  ## run the numerical tests under several kernels of OpenBLAS, with one thread and two
	$(BIN)/python tests/machines.py $(if $(KERNELS),--kernels $(KERNELS)) $(if $(THREADS),--threads $(THREADS)) -- $(TESTS)

lint: $(VENV)/.dev  ## format check, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench $(VENV)/.datasets  ## time a step against PyTorch, and the exact solver against the flow
	$(BIN)/python benchmarks/joint_step.py --write
	$(BIN)/python benchmarks/theory.py --write
	$(BIN)/python benchmarks/results_page.py

train: $(VENV)/.run  ## train CONFIG=file.yaml (continues it if it was begun)
	$(if $(CONFIG),,$(error give a configuration: make train CONFIG=experiments/saddle.yaml))
	$(SHEAF) train $(CONFIG) --resume

# A target for each configuration, so that `make -j 4 -k` trains four at a time and goes on after a failure.
TRAINED := $(if $(DIR),$(addprefix trained/,$(wildcard $(DIR)/*.yaml)))
.PHONY: $(TRAINED)

train-all: $(TRAINED)  ## train every configuration in DIR=experiments that is not done yet (-j 4: at a time)
	$(if $(DIR),,$(error give a folder of configurations: make train-all DIR=experiments))
	$(if $(TRAINED),,$(error no configuration, *.yaml, is in $(DIR)))

$(TRAINED): trained/%: | $(VENV)/.datasets
	$(SHEAF) train $* --resume

sweep: $(VENV)/.datasets  ## do what is missing of SWEEP=file.yaml, on all processors
	$(if $(SWEEP),,$(error give a sweep: make sweep SWEEP=experiments/sweeps/beta.yaml))
	$(SHEAF) sweep $(SWEEP)

paper: $(VENV)/.run  ## all of the paper's experiments into results/paper/ and docs/paper.md (resumable)
	$(BIN)/python benchmarks/paper/run.py

paper-quick: $(VENV)/.run  ## the same in short, into results/paper-quick/
	$(BIN)/python benchmarks/paper/run.py --quick

runs: $(VENV)/.run  ## list the runs in results/
	$(SHEAF) runs

compare: $(VENV)/.run  ## show the runs RUNS="results/a results/b" side by side
	$(if $(RUNS),,$(error give run directories: make compare RUNS="results/a results/b"))
	$(SHEAF) compare $(RUNS)

bench-train: $(VENV)/.bench $(VENV)/.datasets  ## all training methods beside their peers, into docs/results.md (90 minutes on two cores)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/implicit.py
	$(BIN)/python benchmarks/early_stopping.py
	$(BIN)/python benchmarks/implicit_tables.py
	$(BIN)/python benchmarks/variants.py
	$(BIN)/python benchmarks/real_data.py
	$(BIN)/python benchmarks/results_page.py

bench-localise: $(VENV)/.datasets  ## plant 3,000 faults and see which score finds them, into docs/results.md (an hour)
	$(BIN)/python benchmarks/localise.py
	$(BIN)/python benchmarks/results_page.py

bench-blame: $(VENV)/.datasets  ## plant faults in 2,300 networks and fit how sure blame may be (an hour)
	$(BIN)/python benchmarks/blame.py
	$(BIN)/python benchmarks/blame_fit.py

bench-causes: $(VENV)/.datasets  ## plant nine causes and see whether the leading finding names them (20 minutes)
	$(BIN)/python benchmarks/planted_causes.py

bench-diff: $(VENV)/.dev  ## plant 600 differences between runs and see which method names the operation (4 minutes)
	$(BIN)/python benchmarks/diff.py
	$(BIN)/python benchmarks/diff_rounding.py

bench-sweep: $(VENV)/.dev  ## time a sweep by one job and by two, into docs/results.md
	$(BIN)/python benchmarks/sweep_jobs.py
	$(BIN)/python benchmarks/results_page.py

bench-startup: $(VENV)/.datasets  ## measure what short commands cost beside `import numpy`, into docs/results.md
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/results_page.py

report: $(VENV)/.run  ## diagnose RUN=results/name and write its report.html
	$(if $(RUN),,$(error give a run directory: make report RUN=results/paraboloid))
	$(SHEAF) diagnose $(RUN)
	$(SHEAF) spectrum $(RUN)
	$(SHEAF) report $(RUN)

zoo: $(VENV)/.zoo  ## read eighteen known architectures from ONNX and check the theorems on each (20 minutes)
	PYTHONPATH=$(VENV)/torchvision $(BIN)/python benchmarks/zoo.py --write
	PYTHONPATH=$(VENV)/torchvision $(BIN)/python benchmarks/diff_zoo.py

imported: $(VENV)/.dev  ## networks of PyTorch, ONNX, safetensors and scikit-learn: import, diagnose, report
	$(BIN)/python benchmarks/imported_models.py results/models
	for model in digits.pt digits.onnx digits.safetensors digits.skops; do \
	    run=results/imported_$${model##*.}; \
	    $(SHEAF) import results/models/$$model --data digits --ending softmax --output $$run --overwrite && \
	    $(SHEAF) diagnose $$run && $(SHEAF) spectrum $$run && $(SHEAF) report $$run || exit 1; \
	done
	cmp results/imported_pt/diagnosis.csv results/imported_onnx/diagnosis.csv
	cmp results/imported_pt/diagnosis.csv results/imported_safetensors/diagnosis.csv

MINUTES ?= 20
fuzz: $(VENV)/.dev  ## try hostile inputs of every kind for MINUTES=20, then 200 kills (results/fuzz/ keeps what fails)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py --minutes $(MINUTES)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/kills.py

images: $(VENV)/.run  ## make results/handwriting.npz, 60,000 images in ten classes, to train on
	$(BIN)/python benchmarks/handwriting.py results/handwriting.npz

pictures: $(VENV)/.run  ## draw the images of docs/ anew
	mkdir -p docs/images
	folder=$$(mktemp -d) && \
	$(SHEAF) train experiments/paraboloid.yaml --output $$folder/paraboloid --quiet && \
	$(SHEAF) train experiments/saddle.yaml --output $$folder/saddle --quiet && \
	$(SHEAF) diffuse $$folder/saddle --samples 3 --format csv >/dev/null && \
	$(SHEAF) spectrum $$folder/saddle --figures --format csv >/dev/null && \
	$(BIN)/python benchmarks/residual_block.py docs/images/residual_block.png && \
	$(BIN)/python benchmarks/concept_figures.py docs/images && \
	cp $$folder/paraboloid/figures/learned.png $$folder/paraboloid/figures/discord.png docs/images/ && \
	cp $$folder/saddle/figures/diffusion_*.png $$folder/saddle/figures/spectrum.png docs/images/ && \
	$(SHEAF) import experiments/data/sick_digits.npz --data digits --output $$folder/sick >/dev/null && \
	$(SHEAF) diagnose $$folder/sick --figures --format csv >/dev/null && \
	cp $$folder/sick/figures/edges.png $$folder/sick/figures/resistance.png docs/images/ && \
	$(SHEAF) sweep experiments/sweeps/beta.yaml --output $$folder/beta --quiet && \
	cp $$folder/beta/figures/sweep.png docs/images/ && \
	rm -rf $$folder

docs: $(VENV)/.docs  ## build the site of docs/ into build/site/, and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo "Open build/site/index.html."

transcripts: $(VENV)/.dev  ## run the transcripts of README.md and docs/ anew
	$(BIN)/python tests/docs/transcripts.py

# torchvision without what it asks for: its PyTorch of that version is here already. In a folder of its own, since
# other libraries would load it, and beside this PyTorch it loads in the zoo alone.
$(VENV)/.zoo: $(VENV)/.dev
	$(PIP) --no-deps --upgrade --target $(VENV)/torchvision torchvision==0.28.0
	@touch $@

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
	$(PIP) -e '.[datasets,models,cluster,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) -e '.[docs]'
	@touch $@

# The report is tested in a real browser, from Debian's packages where none is installed.
$(VENV)/.browser: | $(VENV)/bin/python
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	    { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq chromium chromium-driver; }
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) -e '.[bench]'
	@touch $@
