# phonemeter: `make` alone says what there is.

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# An activated environment of something else must not be taken for this project's.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

UV_VERSION := 0.13.9
PYTHON ?= python3
ARGS ?=
PROCESSES ?= 2
SEED ?= 1
MINUTES ?= 5
PEERBENCH ?= ../shared/peerbench

uv_on_path := $(shell command -v uv >/dev/null 2>&1 && uv --version 2>/dev/null | cut -d ' ' -f 2)
UV := $(if $(filter $(UV_VERSION),$(uv_on_path)),uv,.tools/bin/uv)
RUN := $(UV) run --no-sync
SYNCED := .venv/.synced-from-lock

.PHONY: help
help: ## Say what there is
	@echo 'phonemeter: meters prepaid WeChat phone-authorization calls'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'ARGS passes arguments on: make demo ARGS="--exit --file FILE", make test ARGS="tests/metering"'

.PHONY: demo
demo: $(SYNCED) | java ## Start everything on this machine and watch traffic burn packs
	@$(RUN) phonemeter demo $(ARGS)

.PHONY: test
test: $(SYNCED) | java prometheus ## Run all tests, the end-to-end ones against the real broker and engine
	@$(RUN) pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: torture
torture: $(SYNCED) | java ## Kill, freeze and starve everything for MINUTES, by SEED, and compare line by line
	@$(RUN) python -m tests.simulation --first $(SEED)000000 --minutes 1
	@$(RUN) python -m tests.torture --seed $(SEED) --minutes $(MINUTES) $(ARGS)

.PHONY: bench
bench: $(SYNCED) | java ## Measure this machine, quickly or with ARGS=--full: one JSON line per figure
	@$(RUN) python -m bench --peerbench $(PEERBENCH) $(ARGS)

.PHONY: check
check: $(SYNCED) ## Check style, types, import directions, the lock file and the hooks
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(UV) lock --check
	$(RUN) pre-commit validate-config

.PHONY: setup
setup: $(SYNCED) | java ## Only install what is needed, into .venv and .tools

.PHONY: clean
clean: ## Remove what was installed, and the data of stacks started here
	rm -rf .venv .tools .phonemeter build

$(SYNCED): uv.lock pyproject.toml $(filter .tools/%,$(UV)) | python
	@echo 'Installing what uv.lock names into .venv ...' >&2
	@$(UV) sync --locked --quiet
	@touch $@

.tools/bin/uv: Makefile | python
	@$(PYTHON) -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# What must be there already. `error` says its one sentence and nothing else.

python_fits := $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
java_major := java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'

.PHONY: python
python:
	@$(if $(shell $(python_fits) 2>&1 || echo missing),$(error \
		Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is none of them; install it with: apt-get install -y python3 python3-venv))
	@$(if $(shell $(PYTHON) -c 'import ensurepip, venv' 2>&1 || echo missing),$(error \
		Python's venv module is needed and not installed; install it with: apt-get install -y python3-venv))

.PHONY: java
java:
	@$(if $(shell [ "$$($(java_major))" -ge 17 ] 2>&1 || echo missing),$(error \
		Java 17 or newer is needed to run Kafka; install it with: apt-get install -y openjdk-17-jre-headless maven))
	@$(if $(shell command -v mvn 2>&1 || echo),,$(error \
		Maven (mvn) is needed to fetch Kafka; install it with: apt-get install -y openjdk-17-jre-headless maven))

prometheus_missing := for tool in promtool amtool prometheus prometheus-alertmanager; do \
	command -v $$tool >/dev/null || echo missing; done

.PHONY: prometheus
prometheus:
	@$(if $(shell $(prometheus_missing)),$(error \
		Prometheus and Alertmanager are needed to test the alerts; install them with: apt-get install -y --no-install-recommends prometheus prometheus-alertmanager))
