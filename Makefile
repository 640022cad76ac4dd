# Everything a newcomer needs; `make` lists it. Only Python 3.11, git and make must be there before.
PYTHON ?= python3.11
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY  := .venv/.ready
DEMO_DIR := $(CURDIR)/out/demo
STUDY := deploy/studies/reconstruction.yaml
STUDY_DIR := $(CURDIR)/out/study

.DEFAULT_GOAL := help
.PHONY: help setup demo study up down test test-slow test-zoo check protos zoo load fmt clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with every pin of requirements.lock

$(READY): requirements.lock pyproject.toml protos/pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) install torch==2.13.0
	$(PIP) install -r requirements.lock
	@# "compat" puts plain folders on the path, which type checkers can follow too
	for part in protos clients/python .; do $(PIP) install --no-deps --config-settings editable_mode=compat -e $$part || exit 1; done
	$(PIP) check
	touch $@

demo: $(READY) ## phantoms in, audit report out: out/demo/report.html (starts and stops its own platform)
	@bash deploy/own-platform.sh $(DEMO_DIR) demo

study: $(READY) ## all reconstruction families, chest and brain phantoms: out/study/index.html (ARGS="--chest DIR" for yours)
	@bash deploy/own-platform.sh $(STUDY_DIR) studies run $(STUDY) $(ARGS)

up: $(READY) ## start the platform in the background: HTTP 8080, gRPC 8081 (EVENHAND_HTTP_PORT, EVENHAND_GRPC_PORT)
	@$(BIN)/evenhand platform up

down: $(READY) ## stop what `make up` started, and nothing else
	@$(BIN)/evenhand platform down

test: $(READY) ## all tests but the slow ones; installs the real servers they need where it can
	-@sh .ci/install-servers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not retraining"

test-slow: $(READY) ## simulations that show coverage and error rates (half an hour), and generators tuned and judged (three hours more)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow --durations=0

test-zoo: $(READY) ## train every shipped model again and compare its score, an hour or more
	$(BIN)/python -m pytest -q -m retraining

check: $(READY) ## formats, lints, types, layers, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy services clients/python/evenhand
	$(BIN)/lint-imports
	bash protos/check.sh
	$(BIN)/python protos/generate.py && git diff --exit-code -- protos/gen && test -z "$$(git status --porcelain -- protos/gen)"

protos: $(READY) ## compile protos/evenhand into protos/gen
	bash protos/check.sh
	$(BIN)/python protos/generate.py

zoo: $(READY) ## train every model of deploy/zoo again by its recipe, hours
	@# glibc would map and unmap the tensors of every step; without, generative recipes take nearly twice as long
	MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 $(BIN)/python -m services.training.zoo

load: $(READY) ## the load tests: each figure beside its budget, an hour
	@over=; for figure in edge bulk single_requests memory kills audit_statistics degradation reconstruction generation synthetic_cohort alignment arrivals monitor_window metrics console pelvis_gpu; do $(BIN)/python loadtests/$$figure.py || over="$$over $$figure"; done; test -z "$$over" || { echo "over budget:$$over"; exit 1; }

fmt: $(READY) ## format and sort imports
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean: ## remove what make created (the environment, out/)
	rm -rf .venv out
