# Everything a person does with a checkout. `make` alone lists it.

SHELL = /bin/sh
BIN = .venv/bin
READY = .venv/.ready
WORKERS ?= 2
ARGS ?=
PYTEST = $(BIN)/python -m pytest

.PHONY: help setup demo test check format cover bench night lock wheel sbom audit clean

help:
	@echo 'make demo     a whole locker site on this machine: boards, gateway, kiosk page, a short day'
	@echo 'make test     set up, check, run the tests (within 20 minutes on two cores)'
	@echo 'make check    format, lint, strict types, floors'
	@echo 'make format   put the code into its format'
	@echo 'make cover    branch coverage of the pure rooms: 100 % or red'
	@echo 'make bench    one JSON line a figure; ARGS="NAME..." for some of them'
	@echo 'make night    what takes longer than make test may'
	@echo 'make setup    only the environment in .venv (the others call it)'
	@echo 'make lock     choose versions and hashes again (requirements.lock)'
	@echo 'make wheel    build the wheel into dist/'
	@echo 'make sbom     what the wheel depends on: dist/sbom.json (CycloneDX)'
	@echo 'make audit    known weaknesses of the locked packages, where OSV can be asked'
	@echo 'make clean    remove what was built, the environment included'
	@echo 'ARGS="..." is handed on by demo, test, night and bench.'

setup: $(READY)

$(READY): requirements.lock pyproject.toml deploy/setup.sh
	@sh deploy/setup.sh .venv >&2 # what a target prints for programs stays alone on stdout
	@touch $@

demo: $(READY)
	@$(BIN)/locker-gateway demo $(ARGS)

test: check
	@echo '== tests'
	@$(PYTEST) -n $(WORKERS) --dist worksteal --durations=15 $(ARGS)

check: $(READY)
	@echo '== format'
	@$(BIN)/ruff format --check .
	@echo '== lint'
	@$(BIN)/ruff check .
	@echo '== types'
	@$(BIN)/mypy
	@echo '== floors'
	@$(BIN)/lint-imports --no-logo

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

cover: $(READY)
	@$(BIN)/python -m tests.house.cover $(ARGS)

bench: $(READY)
	@$(BIN)/python -m tests.bench $(ARGS)

# Every test, the long ones included, and the property tests with 20,000 examples each.
night: $(READY)
	@NIGHT=1 HYPOTHESIS_PROFILE=night $(PYTEST) -n $(WORKERS) --dist worksteal --durations=15 \
		-m 'night or not night' $(ARGS)

# One file for all platforms, with hashes and without addresses: whoever installs says where from.
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --upgrade \
		--no-header --quiet --output-file requirements.lock
	@echo 'requirements.lock written'

wheel: $(READY)
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .

sbom: $(READY)
	@$(BIN)/python deploy/sbom.py dist/sbom.json

audit: $(READY)
	@$(BIN)/python deploy/sbom.py --audit

clean:
	rm -rf .venv build dist demo-site .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
