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
	$(BIN)/python -m tools.commands.run

.PHONY: demo
demo: .venv/.ready ## Tell a whole story through the real command line, in a temporary folder
	$(BIN)/python -m tools.commands.demo

.PHONY: test
test: .venv/.ready ## Run the whole test suite
	$(PYTEST)

.PHONY: check
check: .venv/.ready ## Lint, format, types, contract, catalogue, rules for change, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.commands.lint_protos
	$(BIN)/estelam catalogue check --catalogue catalogue
	$(BIN)/estelam compat check --catalogue catalogue
	$(PYTEST)

.PHONY: conformance
conformance: .venv/.ready ## Put our own services to the conformance kit's proof (ARGS=--postgresql: on PostgreSQL)
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m tools.commands.conformance $(ARGS)

.PHONY: protos
protos: .venv/.ready ## Regenerate the stubs under services/ from protos/
	$(BIN)/python -m tools.commands.generate_protos

.PHONY: reference
reference: .venv/.ready ## Write the reference pages under docs/reference/ from the code
	$(BIN)/python -m tools.commands.reference

.PHONY: bench
bench: .venv/.ready ## Measure every figure that has a target (ARGS=--quick: small and short; ARGS=--help)
	$(BIN)/python -m tools.bench $(ARGS)

.PHONY: chaos
chaos: .venv/.ready ## Run every chaos scenario in its short form; SCENARIO=kill N=1000 for one at length
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m tools.chaos $(SCENARIO) $(if $(N),--rounds $(N))

.PHONY: mutants
mutants: .venv/.ready ## Show that the conformance kit catches: mutant, the case that must fail, did it (ID=...)
	$(BIN)/python -m tests.conformance.mutants $(ID)

.PHONY: report
report: .venv/.ready ## Report an invented month to all its readers, in .estelam-report
	$(BIN)/python -m tools.commands.report
