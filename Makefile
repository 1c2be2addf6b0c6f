# Every target sets up what it needs; `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
comma := ,

.PHONY: help setup test lint types unit grade sim search chaos mutants wheel-check demo bench bench-peers bench-growth bench-failover bench-transfer bench-versus bench-docs trace-examples clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.ready  ## a virtual environment with pinned versions

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --quiet --disable-pip-version-check install -c constraints.txt -e '.[dev]'
	@touch $@

test: lint types unit  ## everything that must hold

lint: setup  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## mypy, strict
	$(BIN)/mypy

unit: setup  ## every test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests

grade: setup  ## the lab-style tests, with points
	$(BIN)/python -m tests.lab

search: setup  ## every order of events, of some worlds; SECONDS=60 for each of them
	$(BIN)/python -m tests.sim.search --jobs 2 --seconds $(or $(SECONDS),60) $(OPTIONS)

sim: setup  ## new simulated worlds for a minute; SECONDS=600 OPTIONS='--faults crash,cut'
	$(BIN)/python -m tests.sim --probes --for $(or $(SECONDS),60) --jobs $$(nproc) $(OPTIONS)

chaos: setup  ## real processes, killed and paused; ROUNDS=100 OPTIONS='--free'
	$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),100) --seconds $(or $(SECONDS),60) $(OPTIONS)

mutants: setup  ## bugs put in, each to be noticed; ONLY=F3,R1 LAYERS=tables,sim JOBS=2
	$(BIN)/python -m tests.mutants $(subst $(comma), ,$(ONLY)) $(if $(LAYERS),--layers $(LAYERS)) --jobs $(or $(JOBS),2) $(OPTIONS)

wheel-check: setup  ## the wheel, built and tried in a fresh environment
	$(BIN)/python -m tests.wheel

demo: setup  ## a failover, live
	$(BIN)/understudy demo

# Only a whole run is kept as what the page tells; OPTIONS of another kind are a look.
bench: setup  ## side by side with Redis, etcd, ZooKeeper, PySyncObj; OPTIONS=--all, OPTIONS='--rows put-64x1'
	$(BIN)/python -m bench $(if $(filter-out --all,$(OPTIONS)),,--keep) $(OPTIONS)

bench-peers: setup  ## the Python packages that it compares with; the systems it names itself
	$(BIN)/python -m pip --quiet --disable-pip-version-check install -c constraints.txt -e '.[bench]'

bench-growth: setup  ## what an operation costs as keys, connections, values, sessions, backups grow
	$(BIN)/python -m bench.growth --json bench/results/growth.json $(OPTIONS)

bench-failover: setup  ## the longest gap when the leader is struck, also of Sentinel and etcd
	$(BIN)/python -m bench.failover --against sentinel etcd --json bench/results/failover.json $(OPTIONS)

bench-transfer: setup  ## a newcomer is given everything, and one of Redis, too
	$(BIN)/python -m bench.transfer --keys 1000000 5000000 --json bench/results/transfer.json $(OPTIONS)

# Published figures come from an optimized Python, such as Debian's:
# make PYTHON=/usr/bin/python3 VENV=.venv-debian BASE=COMMIT bench-versus
bench-versus: setup  ## is this tree slower than the commit BASE?
	$(BIN)/python -m bench.versus $(or $(BASE),HEAD) $(OPTIONS)

bench-docs: setup  ## docs/benchmarks.md, from the results that are kept
	$(BIN)/python -m bench --write-docs

trace-examples: setup  ## the two example pages of a run, docs/trace-*.html
	$(BIN)/python -m tests.sim.examples

clean:  ## what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache build dist bench/loadgen
