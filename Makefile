# Everything that a person does with the project. `make up` and `make test` need only Python 3.11+, make and git.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8501

BIN := .venv/bin
STAMP := .venv/.installed

# Authorities that the machine trusts are trusted, as pip does: a mirror or a proxy of a company has one of its own.
export UV_SYSTEM_CERTS ?= true

.DEFAULT_GOAL := help
.PHONY: help up test check docs golden bench bench-faults bench-gpu fmt clean servers

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 21

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[hub,dev]'
	@touch $@

up: $(STAMP) ## Start the hub, with a simulated cluster on an empty store
	@mkdir -p var
	@CLUSTERLEDGER_STORE=$${CLUSTERLEDGER_STORE:-duckdb:var/clusterledger.duckdb} \
	  $(BIN)/clusterledger up --host $(HOST) --port $(PORT) --demo

# What the tests start or call, as command=Debian package. Missing ones are installed where that is possible (Debian, as
# root); elsewhere the tests that need one say which.
NEEDS := chromium=chromium chromium=fonts-liberation chromium=fonts-dejavu-core cc=gcc cc=libc6-dev \
  ip=iproute2 systemd-analyze=systemd prometheus=prometheus prometheus-node-exporter=prometheus-node-exporter \
  prometheus-alertmanager=prometheus-alertmanager victoria-metrics=victoria-metrics \
  slurmctld=slurm-wlm slurmdbd=slurmdbd slurmrestd=slurmrestd munged=munge mariadbd=mariadb-server \
  /usr/lib/*/slurm-wlm/auth_jwt.so=slurm-wlm-jwt-plugin \
  /usr/lib/*/faketime/libfaketimeMT.so.1=libfaketime

servers:
	@missing=; for need in $(NEEDS); do command -v $${need%%=*} >/dev/null || missing="$$missing $${need##*=}"; done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing for the tests:$$missing" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then echo "not installed, their tests are skipped:$$missing" >&2; fi

# The public validator of FOCUS needs a newer Python and an older NumPy than the project: it has an environment of its own.
VALIDATOR := var/focus-validator

$(VALIDATOR)/.installed: $(STAMP)
	@mkdir -p var; newer=; for each in python3.12 python3.13 "$$HOME"/.pyenv/versions/3.1[23]*/bin/python; do \
	  test -z "$$newer" && "$$each" -c 'import venv' 2>/dev/null && newer="$$each"; done; \
	if test -n "$$newer" && $(BIN)/uv venv --quiet --clear --python "$$newer" $(VALIDATOR) && \
	  $(BIN)/uv pip install --quiet --python $(VALIDATOR)/bin/python 'focus-validator==2.2.1' 'pyarrow<21'; then touch $@; \
	else rm -rf $(VALIDATOR); echo "no Python 3.12 or no focus-validator: the FOCUS export is not checked by it" >&2; fi

.PHONY: focus
focus: $(VALIDATOR)/.installed ## Check the FOCUS export by the public validator, in an environment of its own
	@$(BIN)/pytest -q tests/app/test_focus_validator.py

check: $(STAMP) ## Lint, types, layers and generated documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/cog --check -r README.md docs/reference.md

# One process more than two processors have work for: a fifth of the time is spent waiting for Slurm, browsers and hubs.
TOGETHER ?= 3

# Where nothing compiled is kept, each hub and command that a test starts compiles all of Streamlit and Polars again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) servers check $(VALIDATOR)/.installed ## Check, then run all tests, those in a real browser too
	@POLARS_MAX_THREADS=1 $(BIN)/pytest -n $(TOGETHER) --dist loadgroup --durations 15

docs: $(STAMP) ## Write the generated tables of the README and docs/reference.md again
	@$(BIN)/cog -r README.md docs/reference.md

golden: $(STAMP) ## Write the golden files again: look at the difference before committing it
	@CLUSTERLEDGER_GOLDEN=write $(BIN)/pytest -q -m "not browser" tests -k golden

bench: $(STAMP) ## Measure: writes one table to stdout
	@$(BIN)/python -m bench

bench-faults: $(STAMP) ## Kill agents and a hub a hundred times, cut the network, fill disks: is every row there once?
	@$(BIN)/python -m bench.faults 100

bench-gpu: $(STAMP) ## Record known work on a real NVIDIA GPU, into var/gpu: what the collector says, costs and counts in
	@$(BIN)/python -m bench.gpu

fmt: $(STAMP) ## Format and apply safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the environment and caches; data in var/ stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: picture
picture: $(STAMP) servers ## Take the README's screenshot again
	@$(BIN)/python -m bench.picture docs/overview.png
