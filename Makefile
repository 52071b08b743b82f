# phonemeter: `make` alone says what there is.

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# An activated environment of something else must not be taken for this project's.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' tools/uv.txt)
PYTHON ?= python3
ARGS ?=
PROCESSES ?= 3
SEED ?= 1
MINUTES ?= 5
BROKERS ?= 1
PEERBENCH ?= ../shared/peerbench

uv_on_path := $(shell command -v uv >/dev/null 2>&1 && uv --version 2>/dev/null | cut -d ' ' -f 2)
UV := $(if $(filter $(UV_VERSION),$(uv_on_path)),uv,.tools/bin/uv)
RUN := $(UV) run --no-sync
SYNCED := .venv/.synced-from-lock

.PHONY: help
help: ## Say what there is
	@echo 'phonemeter: meters prepaid WeChat phone-authorization calls'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'ARGS passes arguments on: make demo ARGS="--exit --file FILE", make test ARGS="tests/metering"'

.PHONY: demo
demo: $(SYNCED) ## Start everything on this machine and meter simulated traffic
	@$(RUN) phonemeter demo $(ARGS)

.PHONY: test
test: $(SYNCED) | prometheus grafana asyncapi browser kafka-classes ## Run all tests, the end-to-end ones against the real broker and engine
	@$(RUN) pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

.PHONY: test-fast
test-fast: $(SYNCED) ## Run the tests that need no broker, no engine and no search through seeds
	@$(RUN) pytest --numprocesses $(PROCESSES) -m 'not stack and not slow' $(ARGS)

.PHONY: torture
torture: $(SYNCED) ## Kill, freeze and starve everything for MINUTES, by SEED, with BROKERS=1 or 3, and compare line by line
	@$(RUN) python -m tests.simulation --first $(SEED)000000 --minutes 1
	@$(RUN) python -m tests.torture --seed $(SEED) --minutes $(MINUTES) --brokers $(BROKERS) $(ARGS)

.PHONY: mutants
mutants: $(SYNCED) ## Make mistakes in rules, worker and sinks for MINUTES, by SEED; some test must notice each
	@nice $(RUN) python -m tests.mutants --seed $(SEED) --minutes $(MINUTES) $(ARGS)

.PHONY: clients
clients: $(SYNCED) ## Have other Kafka clients publish, and compare what became of every record
	@$(RUN) python -m tests.clients $(ARGS)

.PHONY: examples
examples: $(SYNCED) ## Have the examples of every language publish, and compare the ledger with them
	@$(RUN) python -m tests.examples $(ARGS)

.PHONY: client
client: $(SYNCED) ## Build wheel and sdist of phonemeter-client into dist/
	@$(RUN) python -m tools.client $(UV)

.PHONY: image
image: $(SYNCED) ## Build the image of the services without a registry, as root, into dist/, and try it
	@$(RUN) python -m tools.image

.PHONY: release
release: $(SYNCED) ## Build wheel, sdist and list of components into dist/, and try the wheel in an empty environment
	@$(RUN) python -m tools.release --uv $(UV) $(ARGS)

.PHONY: upgrade
upgrade: $(SYNCED) ## Upgrade running services under load: FROM=COMMIT, the outcome audited
	@$(RUN) python -m tests.upgrade $(FROM) --uv $(UV) $(ARGS)

.PHONY: schemas
schemas: $(SYNCED) ## Write JSON Schema, AsyncAPI and conformance lines of the events anew
	@$(RUN) python -m tools.events

.PHONY: bench
bench: $(SYNCED) ## Measure this machine, quickly or with ARGS=--full: one JSON line per figure
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
setup: $(SYNCED) ## Only install what is needed, into .venv and .tools

.PHONY: clean
clean: ## Remove what was installed, and the data of stacks started here
	rm -rf .venv .tools .phonemeter build dashboards/console/assets

$(SYNCED): uv.lock pyproject.toml tools/npm/console/package-lock.json $(filter .tools/%,$(UV)) | python
	@echo 'Installing what uv.lock names into .venv ...' >&2
	@$(UV) sync --locked --quiet
	@$(RUN) python -m tools.console_assets
	@touch $@

.tools/bin/uv: tools/uv.txt tools/uv.py tools/debian.py | python
	@echo 'Installing uv into .tools ...' >&2
	@$(PYTHON) -m tools.uv
	@touch $@

.PHONY: prometheus
prometheus: $(SYNCED)
	@$(RUN) python -m tools.prometheus

.PHONY: grafana
grafana: $(SYNCED)
	@$(RUN) python -m tools.grafana

.PHONY: asyncapi
asyncapi: $(SYNCED)
	@$(RUN) python -m tools.asyncapi

.PHONY: browser
browser: $(SYNCED)
	@$(RUN) python -m tools.chromium
	@$(RUN) python -m tools.axe

.PHONY: kafka-classes
kafka-classes: $(SYNCED)
	@$(RUN) python -m tests.kafka_classes

# What must be there already. `error` says its one sentence and nothing else.
python_fits := $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'

.PHONY: python
python:
	@$(if $(shell $(python_fits) 2>&1 || echo missing),$(error \
		Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is none of them; install it with: apt-get install -y python3))
