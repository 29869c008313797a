# Two commands: `make run` curates (a sample it draws itself, or DATA=...), `make test` tests. Both install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev,faces,train
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
comma := ,
DATA ?=
WORKSPACE ?= $(if $(DATA),workspace,workspace-sample)
PYTEST := $(BIN)/python -m pytest

.PHONY: setup run test test-fast bench lint faults clean
.DEFAULT_GOAL := run

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

run: setup
ifeq ($(DATA),)
	@test -f sample/truth.csv || $(BIN)/curate sample sample
	@$(BIN)/curate run sample -w $(WORKSPACE)
else
	@$(BIN)/curate run '$(DATA)' -w '$(WORKSPACE)'
endif

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m 'not slow'

bench: setup
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) build *.egg-info artifacts sample workspace-sample
