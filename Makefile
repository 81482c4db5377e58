SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# PYTHON=python3.13 selects another interpreter, which gets an environment of its own.
PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13 python3.14
GRPCIO ?= 1.80 1.81 1.82 1.83 1.84
VENV ?= .venv$(patsubst %,-%,$(filter-out python3 python,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
LOCK ?= requirements/development.txt
# TESTS=tests/unit selects a part of the suite, WORKERS=2 the number of test processes.
TESTS ?=
WORKERS ?= 5
# The tests start processes beside gRPC's threads; its handlers of fork can hang the child before it runs. Bytecode is kept
# whatever the environment says: each of many hundred processes would compile what it imports, which takes seconds.
PYTEST := GRPC_ENABLE_FORK_SUPPORT=0 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)
COMPILE := $(BIN)/uv pip compile --quiet --no-annotate --custom-compile-command 'make lock' --generate-hashes

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# uv takes a tenth of pip's time, but does not read the settings of pip (a mirror, say): where it fails, pip installs.
$(VENV)/.ready: pyproject.toml $(LOCK)
	@echo "Creating $(VENV) with $$($(PYTHON) --version) and $$(grep -c == $(LOCK)) packages from $(LOCK): up to a minute"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes \
		--requirement <(sed -n '/^uv==/,/[^\]$$/p' $(LOCK))
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement $(LOCK) || \
		$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes --requirement $(LOCK) | \
		sed -nu 's/^Collecting \([^ ]*\).*/  collecting \1/p; s/^Installing collected packages.*/  installing them/p'
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$(VENV) is ready"

.PHONY: run
run: $(VENV)/.ready ## Start all services on loopback with sample data, until Ctrl-C (PORT_PROMISSORY=6051 ...: other ports)
	$(BIN)/estelam dev $(ARGS)

.PHONY: compose
compose: $(VENV)/.ready ## Build the image and start all organisations in containers on loopback, for a trial (needs docker)
	$(BIN)/python -m tools.commands.compose_secrets
	docker compose --env-file deploy/secrets/env -f deploy/compose.yaml up --build

.PHONY: demo
demo: $(VENV)/.ready ## Run a complete scenario through the command line, in a temporary folder
	$(BIN)/python -m tools.commands.demo

.PHONY: test
test: $(VENV)/.ready ## Run the test suite (TESTS=tests/unit: a part of it; PYTHON=python3.13: another version)
	$(PYTEST) -m "not slow"

.PHONY: test-full
test-full: $(VENV)/.ready ## Run the tests that take too long for make test
	$(PYTEST) -m slow

.PHONY: test-lowest
test-lowest: $(VENV)/.ready ## Run the test suite with the lowest versions that pyproject.toml declares
	@mkdir -p build
	$(COMPILE) pyproject.toml --extra dev --resolution lowest-direct --python $(BIN)/python --output-file build/lowest.txt
	rm -rf .venv-lowest
	$(MAKE) test VENV=.venv-lowest LOCK=build/lowest.txt

.PHONY: test-grpcio
test-grpcio: $(VENV)/.ready ## Test the polled server on older minor versions of grpcio (GRPCIO="1.82 1.84")
	@for version in $(GRPCIO); do \
		echo "grpcio $$version"; \
		$(BIN)/uv pip install --quiet --no-deps --reinstall --target build/grpcio-$$version "grpcio==$$version.*"; \
		PYTHONPATH=build/grpcio-$$version:services $(BIN)/python -m pytest -q --noconftest -p no:cacheprovider \
			-m "not slow" tests/unit/server/test_completion_queue.py; \
	done

.PHONY: test-pythons
test-pythons: ## Run mypy and the test suite on each supported version of Python that is installed (PYTHONS=...)
	@failed=; for python in $(PYTHONS); do \
		$$python --version >/dev/null 2>&1 || { echo "$$python is not installed: not tested"; continue; }; \
		$(MAKE) types test PYTHON=$$python || failed="$$failed $$python"; \
	done; [ -z "$$failed" ] || { echo "Failed:$$failed"; exit 1; }

.PHONY: types
types: $(VENV)/.ready
	$(BIN)/mypy

.PHONY: lint
lint: $(VENV)/.ready types ## Check format, style, types, imports, dependencies, spelling, contracts and catalogue
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry services --optional-dependencies-dev-groups dev
	$(BIN)/codespell
	$(BIN)/python -m tools.commands.lint_protos
	$(BIN)/estelam catalogue check --catalogue catalogue
	$(BIN)/estelam compat check --catalogue catalogue

.PHONY: check
check: lint test test-full ## Run lint and all tests

.PHONY: lock
lock: $(VENV)/.ready ## Update requirements/ after a change of dependencies (ARGS=--upgrade: newest versions)
	$(COMPILE) --universal pyproject.toml --extra dev $(ARGS) --output-file requirements/development.txt
	$(COMPILE) --universal pyproject.toml --constraints requirements/development.txt \
		--output-file requirements/image.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
		$(COMPILE) --universal - --constraints requirements/development.txt --output-file requirements/build.txt

.PHONY: conformance
conformance: $(VENV)/.ready ## Run the conformance kit against our own services (ARGS=--http: the JSON APIs; ARGS=--postgresql; ARGS=--profile=core)
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m tools.commands.conformance $(ARGS)

.PHONY: protos
protos: $(VENV)/.ready ## Regenerate the stubs under services/ from protos/
	$(BIN)/python -m tools.commands.generate_protos

.PHONY: reference
reference: $(VENV)/.ready ## Write the reference pages under docs/reference/ from the code
	$(BIN)/python -m tools.commands.reference

.PHONY: testdata
testdata: $(VENV)/.ready ## Write the test vectors under testdata/
	$(BIN)/python -m tools.commands.testdata

.PHONY: bench
bench: $(VENV)/.ready ## Measure every metric that has a target (ARGS=--quick: small and short; ARGS=--help)
	$(BIN)/python -m tools.bench $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.ready ## Run every chaos scenario in its short form (SCENARIO=kill N=1000: one at length)
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m tools.chaos $(SCENARIO) $(if $(N),--rounds $(N))

.PHONY: mutants
mutants: $(VENV)/.ready ## Show which mutants the conformance kit catches (ID=...: one; ARGS="--sample 50": some; ARGS="--kind cache")
	$(BIN)/python -m tests.conformance.mutants $(ID) $(ARGS)

.PHONY: report
report: $(VENV)/.ready ## Generate the reports of a synthetic month for all readers, in .estelam-report
	$(BIN)/python -m tools.commands.report

.PHONY: clean
clean: ## Remove environments, caches and builds; .estelam (settings and data of make run) stays
	rm -rf .venv .venv-* build dist services/*.egg-info .estelam-report
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find services tests tools samples -name __pycache__ -prune -exec rm -rf {} +
