SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.PHONY: run
run: .venv/.ready ## Start all services and the watch on loopback with sample data, until Ctrl-C
	$(BIN)/python -m scripts.run

.PHONY: demo
demo: .venv/.ready ## Tell a whole story through the real command line, in a temporary folder
	$(BIN)/python -m scripts.demo

.PHONY: test
test: .venv/.ready ## Run the whole test suite
	$(PYTEST)

.PHONY: check
check: .venv/.ready ## Lint, format, types, contract, catalogue, rules for change, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.lint_protos
	$(BIN)/estelam catalogue check --catalogue catalogue
	$(BIN)/estelam change check --catalogue catalogue
	$(PYTEST)

.PHONY: conformance
conformance: .venv/.ready ## Put our own services to the conformance kit's proof (ARGS=--postgresql: on PostgreSQL)
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m scripts.conformance $(ARGS)

.PHONY: protos
protos: .venv/.ready ## Regenerate the stubs under services/ from protos/
	$(BIN)/python -m scripts.generate_protos

.PHONY: bench
bench: .venv/.ready ## Measure every figure that has a target (ARGS=--quick: small and short; ARGS=--help)
	$(BIN)/python -m bench $(ARGS)

.PHONY: torture
torture: .venv/.ready ## Torture the product in a short form; TRIAL=kill N=1000 for one trial at length
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m torture $(TRIAL) $(if $(N),--rounds $(N))

.PHONY: zoo
zoo: .venv/.ready ## Show that the conformance kit catches: mutant, the case that must fail, did it (ID=...)
	$(BIN)/python -m tests.conformance.zoo $(ID)

.PHONY: report
report: .venv/.ready ## Report an invented month to all its readers, in .estelam-report
	$(BIN)/python -m scripts.report
