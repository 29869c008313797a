# Two commands: `make run` curates (a sample it draws itself, or DATA=...), `make test` tests. Both install what they need:
# `make run` the core and EXTRAS=..., everything else all of it (or EXTRAS=...), by uv, which is fetched into .venv where
# there is none, else by pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?=
INSTALL := $(PYTHON) tools/install.py
DATA ?=
WORKSPACE ?= $(if $(DATA),workspace,workspace-sample)
PYTEST := $(BIN)/python -m pytest

.PHONY: setup core run test test-fast coverage chromium bench peers fastdup docs lint clean faults test-lowest audit-deps
.DEFAULT_GOAL := run

setup:
	@$(INSTALL) '$(or $(EXTRAS),dev all)'

core:
	@$(INSTALL) '$(EXTRAS)'

run: core
ifeq ($(DATA),)
	@test -f sample/truth.csv || $(BIN)/curate sample sample
	@$(BIN)/curate run sample -w $(WORKSPACE) --subject-from '/(p[0-9]+)_'
else
	@$(BIN)/curate run '$(DATA)' -w '$(WORKSPACE)'
endif

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# The site, in site/, without a warning and without a dead link; the tests execute the commands that it shows.
docs: setup
	$(BIN)/mkdocs build --strict --quiet
	$(BIN)/python tools/links.py site

# On all cores, one file at a time each, what takes longest first; then those that a person's clicks are timed in, alone.
test: lint chromium
	@status=0; $(PYTEST) -n auto --dist loadfile --no-loadscope-reorder -m 'not app' || status=$$?; \
	$(PYTEST) -m app || status=$$?; exit $$status

# Debian's Chromium for the browser tests, which are skipped where it cannot be had.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && exit 0; done; \
		echo "Installing Chromium ..."; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install chromium; } \
		> /dev/null || echo "Chromium could not be installed: the browser tests will be skipped"

# The unit tests that take no more than about ten seconds each; whole workflows are for `make test`.
test-fast: setup
	$(PYTEST) -n auto --dist loadfile --no-loadscope-reorder -m 'not slow and not browser' tests/unit

# What the fast tests reach of the product's lines; fails below the floor (subprocesses and slow tests are not counted).
coverage: setup
	$(PYTEST) -m 'not slow and not browser' tests/unit --cov --cov-report=term:skip-covered --cov-fail-under=70

# The peers of the benchmarks, in an environment of their own: fastdup's pins cannot be met beside ours.
peers:
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		opencv-python-headless pandas scikit-learn cleanvision imagededup pillow_heif requests sentry-sdk
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps fastdup==2.54

# fastdup beside everything else: its own pins cannot be met here, but it works without them (licence CC BY-NC-ND).
fastdup: setup
	@test -x $(BIN)/pip || $(BIN)/python -m ensurepip > /dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pillow_heif requests sentry-sdk
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps fastdup==2.54

bench: setup
	@mkdir -p artifacts
	$(BIN)/python -m tests.benchmarks.bench_curate
	$(BIN)/python -m tests.benchmarks.bench_decode
	$(BIN)/python -m tests.benchmarks.bench_near_duplicates --peers
	$(BIN)/python -m tests.benchmarks.bench_natural_pairs --list artifacts/natural_pairs.csv
	$(BIN)/python -m tests.benchmarks.bench_stage --list artifacts/natural_pairs.csv
	$(BIN)/python -m tests.benchmarks.bench_scale
	$(BIN)/python -m tests.benchmarks.bench_growth
	$(BIN)/python -m tests.benchmarks.bench_training speed
	$(BIN)/python -m tests.benchmarks.bench_training ladder

# The lowest supported versions of the main dependencies, in an environment of their own: what needs no extra.
test-lowest:
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	@$(PYTHON) tests/lowest.py > .venv-lowest/lowest.txt
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/lowest.txt -e . \
		pytest pytest-timeout hypothesis psutil imagehash scikit-learn statsmodels
	.venv-lowest/bin/python -m pytest tests/unit --ignore-glob='*test_training_*' -m 'not slow'

# Known vulnerabilities of what is installed, and the bill of materials in artifacts/; exit status 3 without a network.
audit-deps: setup
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit cyclonedx-bom
	@$(BIN)/python -m tests.audit_deps .venv-audit/bin

# Kills, full disks, concurrency, hostile input: the long form; prints JSON. Some parts mount a tmpfs (root).
faults: setup
	$(BIN)/python -m tests.faults.suite

clean:
	rm -rf $(VENV) .venv-peers .venv-lowest .venv-audit build site *.egg-info artifacts sample workspace-sample
