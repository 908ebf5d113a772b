# Everything here needs nothing but make and Python >= 3.11 (PYTHON=... names another one).
# uv is used where it is installed because it is faster; it is never required.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
GRAMMARS := tests/grammars/node_modules
CLIENTS := tests/otel_stream/web/clients/node_modules
PAGE := otel_stream/view/page
KAFKA := tests/scale/kafka
# Ray looks at every distribution that is there when one of its processes starts: it has an environment of its own.
SCALE := .venv-scale
# A browser for `make test-page`: CHROMIUM names another one than the one on the path, which Debian's package brings.
BROWSER := $(if $(CHROMIUM)$(shell command -v chromium || command -v chromium-browser),,install-chromium)
# What the demo needs. A comma within $(call ...) would end an argument.
RUNTIME := otlp,view
# What `configure()` may be asked for, and tests ask for.
EXTRAS := otlp,grpc,view,web,kafka
ON_RAY := $(EXTRAS),ray
PYTEST_ARGS ?= -n auto --dist loadgroup

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.runtime ## Audit real Python source as a graph, live, with telemetry (ARGS="..." are passed on)
	@$(BIN)/otel-stream demo $(ARGS)

.PHONY: test
test: $(VENV)/.dev $(if $(shell command -v npm),$(CLIENTS)/.package-lock.json) ## Run every test, LangGraph's own included
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(ARGS)

.PHONY: test-langgraph
test-langgraph: $(VENV)/.dev ## Run the adapter's tests with LangGraph's oldest, each minor and newest version, in environments of their own
	$(BIN)/python -m tests.otel_stream.adapters.langgraph.matrix $(ARGS)

.PHONY: test-langgraph-next
test-langgraph-next: $(VENV)/.dev ## Run them with LangGraph's newest pre-release
	$(BIN)/python -m tests.otel_stream.adapters.langgraph.matrix --pre

.PHONY: test-versions
test-versions: $(VENV)/.dev ## Run a traced run beside older OpenTelemetry and its distributions (ARGS="1.37 azure" for some)
	$(BIN)/python -m tests.versions $(ARGS)

.PHONY: test-pythons
test-pythons: $(VENV)/.dev ## Run the tests of what runs on each other Python that is found (ARGS="--all 3.13" for all tests, one Python)
	$(BIN)/python -m tests.pythons $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## Format, lint, types (two checkers) and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m semconv --check

.PHONY: fix
fix: $(VENV)/.dev ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev ## Compare with LangGraph, interleaved, in one run
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-page
bench-page: $(VENV)/.dev ## Write the figures of the last whole run of make bench into docs/performance.md
	$(BIN)/python -m benchmarks.document

.PHONY: bench-viewer
bench-viewer: $(VENV)/.dev ## Measure what the viewer takes and answers, with 1,000 runs of a thousand spans and log events (ARGS="100" for fewer)
	$(BIN)/python -m benchmarks.viewer $(ARGS)

.PHONY: bench-watchers
bench-watchers: $(VENV)/.dev ## Measure what two hundred readers of one run cost it
	$(BIN)/python -m benchmarks.watchers $(ARGS)

.PHONY: bench-scale
bench-scale: $(SCALE)/.made $(KAFKA)/libs/.copied ## Measure streams through Kafka beside aiokafka alone, and nodes on Ray beside an actor's calls
	$(call BESIDE_RAY,-m benchmarks.scale)

.PHONY: scaling
scaling: $(VENV)/.dev $(KAFKA)/libs/.copied ## Measure what a run costs whom, and print what so many a second need (ARGS=--again prints it once more)
	$(BIN)/python -m benchmarks.scaling $(ARGS)

.PHONY: peers
peers: $(VENV)/.dev ## Measure the telemetry of others for LangGraph beside ours, and write docs/peers.md
	$(BIN)/python -m benchmarks.peers $(ARGS)

.PHONY: survey
survey: survey-langgraph survey-ecosystem ## Run LangGraph's tests, and those of what is built on it, against our engine

.PHONY: survey-langgraph
survey-langgraph: $(VENV)/.dev ## Run all of LangGraph's public-API tests against our engine, and list what fails
	$(BIN)/python -m tests.conformance.survey $(ARGS)

.PHONY: survey-ecosystem
survey-ecosystem: $(VENV)/.dev ## Run the suites of LangGraph's ecosystem on LangGraph and on our engine (ARGS="swarm" for one)
	$(BIN)/python -m tests.conformance.ecosystem $(ARGS)

.PHONY: survey-observed
survey-observed: $(VENV)/.dev ## Run those suites on LangGraph alone and with all its runs observed, and fail where that differs
	$(BIN)/python -m tests.conformance.ecosystem --observed $(ARGS)

KILLS ?= 100
.PHONY: kills
kills: $(VENV)/.dev ## Kill KILLS runs on SQLite and as many on PostgreSQL, and go on with each in other processes
	KILLS=$(KILLS) $(BIN)/python -m pytest -n 0 tests/persistence/test_kills.py $(ARGS)

SECONDS ?= 60
.PHONY: fuzz
fuzz: $(VENV)/.dev ## Mutate records, states, configs and answers of nodes for SECONDS each (ARGS="states" for one)
	$(BIN)/python -W ignore -m tests.fuzz --seconds $(SECONDS) $(ARGS)

.PHONY: semconv
semconv: $(VENV)/.dev ## Generate the names and their reference page from semconv/registry
	$(BIN)/python -m semconv

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Generate Grafana's dashboards, Prometheus' rules, the mixin and Collector configurations
	$(BIN)/python -m dashboards

.PHONY: docs
docs: $(VENV)/.dev ## Build the site into build/site, and fail on whatever a reader would stumble over
	@$(BIN)/python -m handbook

.PHONY: release
release: $(VENV)/.dev ## Make a release of what is committed in dist/: built twice, with what it brings along, tried on each Python
	@$(BIN)/python -m release
	@$(BIN)/python -m pytest -q -n 0 tests/upgrade

.PHONY: backends
backends: $(VENV)/.runtime ## Build Collector, Jaeger, VictoriaLogs and Prometheus with Go, once (ARGS="jaeger" for one)
	@$(BIN)/python -m backends build $(if $(filter backends,$(MAKECMDGOALS)),$(ARGS))

.PHONY: test-backends
test-backends: $(VENV)/.dev backends $(GRAMMARS)/.package-lock.json ## Run the tests that need real backends, which make backends builds
	$(BIN)/python -m pytest -n 0 --timeout 300 tests/backends $(ARGS)

.PHONY: test-scale
test-scale: $(VENV)/.dev backends $(KAFKA)/libs/.copied ## Run the tests that need a real Kafka broker, which Maven fetches (KILLS=20 to kill it more often)
	$(BIN)/python -m pytest -n 0 --timeout 300 tests/scale --ignore tests/scale/ray $(ARGS)

# Ray listens beyond loopback, wherever it is told to be: so it has a network of its own. ALONE=env does without.
ALONE = $(shell unshare --net true 2>/dev/null && echo unshare --net || ($(OWN_USER) true 2>/dev/null && echo $(OWN_USER)))
OWN_USER = unshare --user --map-current-user --keep-caps --net
NO_NETWORK = "Ray would listen beyond loopback, and this machine lets us make no network for it: not run (ALONE=env runs it all the same, RAY_ADDRESS=... on a cluster that is there)"
RAY = RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
ON_LOOPBACK = $(if $(filter-out env,$(ALONE)),$(SCALE)/bin/python -m tests.scale.ray.loopback)
BESIDE_RAY = $(if $(RAY_ADDRESS),$(RAY) $(SCALE)/bin/python $(1),$(if $(ALONE),$(RAY) $(ALONE) $(ON_LOOPBACK) $(SCALE)/bin/python $(1),echo $(NO_NETWORK)$(if $(CI), && exit 1)))
.PHONY: test-ray
test-ray: $(SCALE)/.made $(KAFKA)/libs/.copied ## Run the tests of nodes on a Ray cluster, in an environment of its own (RAY_ADDRESS names a cluster that is there)
	$(call BESIDE_RAY,-m pytest -n 0 --timeout 300 tests/scale/ray $(ARGS))

.PHONY: cluster-demo
cluster-demo: $(SCALE)/.made $(KAFKA)/libs/.copied ## Run graphs in three workers and on two Ray nodes, watch them by Kafka, and kill a worker (ARGS=30 for more threads)
	@$(call BESIDE_RAY,-m examples.cluster $(ARGS))

.PHONY: page
page: $(PAGE)/node_modules/.package-lock.json ## Build the viewer's page from its TypeScript into otel_stream/view/static
	@npm run --silent --prefix $(PAGE) build

.PHONY: test-page
test-page: $(VENV)/.dev $(PAGE)/node_modules/.package-lock.json $(BROWSER) $(if $(wildcard build/site/*/index.html),,docs) ## Check the page's source and bundle, and try it in real Chromium (OTEL_STREAM_PICTURES=docs/images/view)
	@npm run --silent --prefix $(PAGE) check
	@npm run --silent --prefix $(PAGE) compare
	@npm run --silent --prefix $(PAGE) test
	$(BIN)/python -m pytest -n 0 --timeout 300 tests/page $(ARGS)

.PHONY: licences
licences: $(VENV)/.dev backends $(KAFKA)/libs/.copied ## Say which licence everything has that is installed or built, and fail on what may not be used
	@$(call INSTALL,--editable ".[$$($(BIN)/python -m licences extras)]")
	@$(BIN)/python -m licences

.PHONY: lock
lock: $(VENV)/.dev ## Resolve every dependency again into constraints.txt
	@$(call INSTALL,--group lock)
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev --group lock \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file constraints.txt
	$(BIN)/uv pip compile pyproject.toml tests/conformance/ecosystem.in --quiet --upgrade --universal --python-version 3.11 \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file tests/conformance/ecosystem.txt

.PHONY: clean
clean: ## Remove what was built, the virtual environment included
	rm -rf $(VENV) $(SCALE) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up: a stamp per layer, so that `make demo` installs only what a demo needs ------------------

INSTALL = if command -v uv >/dev/null 2>&1; \
	then uv pip install --quiet --python $(or $(2),$(BIN))/python --constraint constraints.txt $(1); \
	else $(or $(2),$(BIN))/python -m pip install --quiet --no-warn-script-location --constraint constraints.txt $(1); fi

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "otel-stream needs Python 3.11 or newer, which '$(PYTHON)' is not: try make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }
	@echo "Setting up $(VENV) (once)"
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python '$(PYTHON)' $(VENV); \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip; fi
	@touch $@

$(SCALE)/.made: $(VENV)/.made pyproject.toml constraints.txt
	@rm -rf $(SCALE)
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python $(BIN)/python $(SCALE); \
	else $(BIN)/python -m venv $(SCALE) && $(SCALE)/bin/python -m pip install --quiet --constraint constraints.txt --upgrade pip; fi
	@$(call INSTALL,--editable '.[$(ON_RAY)]' --group test,$(SCALE)/bin)
	@echo 'Compiling $(SCALE) (once): each process of Ray loads hundreds of modules, and has thirty seconds to do so'
	@$(SCALE)/bin/python -m compileall -q -j 0 $(SCALE)/lib >/dev/null || true # some are of other versions of Python
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt README.md
	@$(call INSTALL,--editable '.[$(RUNTIME)]')
	@touch $@

.PHONY: install-chromium
install-chromium:
	@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	    echo "there is no Chromium on the path: install it, or name it: make test-page CHROMIUM=/path/to/it" >&2; exit 1; }
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium fonts-dejavu-core

# What the page is built and tried with; npm writes this file when it is done.
$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	@command -v npm >/dev/null || { \
	    echo "building the page needs Node and npm, and there is no npm on the path: install Node 20 or newer" >&2; \
	    exit 1; }
	@npm ci --prefix $(PAGE) --no-audit --no-fund --loglevel=error
	@touch $@

# Grafana's grammars of its query languages; npm writes this file when it is done.
$(GRAMMARS)/.package-lock.json: tests/grammars/package-lock.json
	@command -v npm >/dev/null || { \
	    echo "parsing TraceQL and LogQL needs Node and npm, and there is no npm on the path: install Node 18 or newer" >&2; \
	    exit 1; }
	@npm ci --prefix tests/grammars --no-audit --no-fund --loglevel=error
	@touch $@

# Kafka and what it needs, with the descriptions that say under which licences.
MAVEN := $(if $(shell command -v mvn),,install-maven)
$(KAFKA)/libs/.copied: $(KAFKA)/pom.xml | $(MAVEN)
	@rm -rf $(KAFKA)/libs
	@mvn --quiet --batch-mode --file $(KAFKA)/pom.xml \
	    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs \
	    -DincludeScope=runtime -Dmdep.copyPom=true -Dmdep.addParentPoms=true
	@touch $@

.PHONY: install-maven
install-maven:
	@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	    echo "fetching Kafka needs Maven and Java, and there is no mvn on the path: install Maven 3.8 or newer" >&2; exit 1; }
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends maven default-jre-headless

# Clients of otel_stream.web in JavaScript.
$(CLIENTS)/.package-lock.json: tests/otel_stream/web/clients/package-lock.json
	@npm ci --prefix tests/otel_stream/web/clients --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: clients
clients: $(CLIENTS)/.package-lock.json ## Install the JavaScript clients that otel_stream.web is tested with (make test does)

$(VENV)/.dev: $(VENV)/.runtime
	@$(call INSTALL,--editable '.[$(EXTRAS)]' --group dev)
	@touch $@
