# Every target works on a fresh clone: the virtual environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
# Where TFDS keeps MNIST; empty: its usual folder.
DATA ?=
# Tests spend their time in tracing, on one core each; a class or module stays on one worker, with its fixtures.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist=loadscope
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Without byte code each process compiles TensorFlow anew, which takes three times as long as its import.
unexport PYTHONDONTWRITEBYTECODE

TRIALS ?= 100
FILES ?= 10000

.PHONY: reliability setup setup-dev demo mnist pipeline test test-slow check docs wheel-check format bench clean

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# --no-compile: byte code is written on first import instead, for the modules that are used.
$(VENV)/.installed: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

demo: setup
	$(BIN)/python -m jeat_tf.train --flagfile=configs/digits/jeat.flags --model_dir=$(RUN)
	$(BIN)/python -m jeat_tf.evaluate --model=$(RUN) --attacks=clean,fgsm,pgd20,pgd50,energy
	$(BIN)/python -m jeat_tf.sample --model=$(RUN)
	@echo
	@echo "Results of the demo"
	@echo "  robust accuracy   $(RUN)/evaluation/results.json"
	@echo "  generated digits  $(RUN)/samples/grid.png   (chain.gif, arrays: samples-*.npz, diagnostics: samples.json)"
	@echo "  the classifier    $(RUN)/net.keras          (a plain Keras model: logits are -E(x, y))"
	@echo "  TensorBoard       $(BIN)/tensorboard --logdir $(RUN)"

# JEAT on real MNIST, from a net of Fast training; about half an hour on two cores. The same command resumes.
mnist: setup
	$(BIN)/python -m jeat_tf.train --preset=mnist/fast --model_dir=runs/mnist/fast --data_dir=$(DATA) --download
	$(BIN)/python -m jeat_tf.train --preset=mnist/jeat --init_from=runs/mnist/fast --model_dir=runs/mnist/jeat \
	  --data_dir=$(DATA)
	$(BIN)/python -m jeat_tf.evaluate --model=runs/mnist/jeat --num_images=1000 --attacks=clean,pgd20,autoattack
	$(BIN)/python -m jeat_tf.sample --model=runs/mnist/jeat --num=200
	$(BIN)/python -m jeat_tf.draw --models=runs/mnist/jeat --figures=grids
	$(BIN)/python -m jeat_tf.report --runs=runs/mnist --out=runs/mnist/report.html

pipeline: setup
	$(BIN)/python -m components.run --flagfile=configs/pipelines/digits.flags

test: setup-dev
	$(PYTEST)

test-slow: setup-dev
	$(PYTEST) -m slow

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

# The site is built offline; a broken link or a docstring that names no argument is an error.
# Its search needs a server: python -m http.server --directory site.
docs: setup-dev
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

# What a user of the wheel gets, in an environment and a folder of its own.
wheel-check: setup-dev
	PYTHON=$(abspath $(BIN)/python) bash .ci/wheel_check.sh

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/train_step.py

# Kills, damaged files, shared folders, full disks; writes docs/reliability.md. Takes hours at full scale.
reliability: setup
	PYTHONPATH=. $(BIN)/python benchmarks/reliability.py --trials=$(TRIALS) --files=$(FILES)

clean:
	rm -rf $(VENV) runs build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
