# Two targets matter to a newcomer: quickstart and test. `make help` lists all.
VENV ?= .venv
BIN := $(VENV)/bin
CACHE ?= .cache
export AUTOTUNER_VENV := $(VENV)
# Tests start hundreds of processes; without compiled modules each of them takes seconds of CPU time instead of tenths.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart test coverage setup ui ui-types ui-test lock hooks dist setup-test docs lint types contracts pytest format bench-loadgen bench-overhead bench-cluster bench-search bench-proof bench-capacity bench-capacity-real bench-startup bench-server bench-server-pages test-genai test-lm-eval test-aiconfigurator test-lowest test-cluster test-ome cluster-build cluster-up cluster-down clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')"

quickstart: ## Tune a real llama.cpp server on this machine's CPU (a few minutes)
	@scripts/setup.sh llama-cpp
	@scripts/build-ui.sh || echo "quickstart: the web UI could not be built; the study runs, but has no HTML report"
	@$(BIN)/python -m autotuner.demo_model $(CACHE)/tiny.gguf
	@$(BIN)/autotuner run examples/quickstart.yaml

test: setup-test ## Everything: lint, types, import contracts, documentation, all tests
	$(MAKE) --jobs=2 --output-sync=target lint types contracts docs ui-test
	$(MAKE) pytest

coverage: setup-test ## All tests, and which lines they run (about five minutes more than without)
	$(BIN)/python scripts/run_tests.py --coverage

setup: ## Create an environment with everything for development
	@scripts/setup.sh docker,kubernetes,llama-cpp,pandas,polars,postgresql,server,tokenizer "dev docs"
	@scripts/build-ui.sh

ui: setup ## Build the web UI, if its sources changed

ui-types: setup ## Generate what the web UI takes from the Python code: types of the API, metrics, texts
	@scripts/build-ui.sh types

ui-test: setup ## Lint, types and unit tests of the web UI
	@scripts/build-ui.sh test

lock: setup ## Refresh uv.lock after a change of dependencies (LOCK=--upgrade: to the newest versions)
	$(BIN)/uv lock $(LOCK)

hooks: setup ## Check every commit: lint, types, import contracts, subject
	$(BIN)/pre-commit install

dist: ## Build the source archive and the wheel for PyPI, in dist/
	@scripts/setup.sh "" release
	@scripts/build-ui.sh
	rm -rf dist
	$(BIN)/uv build -q
	$(BIN)/twine check --strict dist/*

setup-test: setup
	@scripts/setup-test-tools.sh

lint:
	$(BIN)/uv lock -q --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python scripts/check_style.py
	$(BIN)/python scripts/check_wording.py
	$(BIN)/python scripts/check_commit_subject.py --branch
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.citation-file-format CITATION.cff

types:
	$(BIN)/mypy

docs: setup ## Build the documentation site in build/docs; broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

contracts:
	$(BIN)/lint-imports

test-lowest: ## Unit tests with the lowest versions that pyproject.toml allows, in a separate environment
	@scripts/test-lowest.sh "$(CACHE)/lowest"

test-genai: setup ## Measure with a real genai-bench, in a separate environment (1.3 GB; needs Python 3.10 to 3.12)
	@command=$$(scripts/setup-genai-bench.sh "$(CACHE)/genai-bench") && \
		AUTOTUNER_GENAI_BENCH=$$command $(BIN)/pytest -m genai

test-lm-eval: setup ## Evaluate tasks with a real lm-evaluation-harness, in a separate environment (0.8 GB)
	@command=$$(scripts/setup-lm-eval.sh "$(CACHE)/lm-eval") && \
		AUTOTUNER_LM_EVAL=$$command HF_HUB_OFFLINE=1 $(BIN)/pytest -m lm_eval

test-aiconfigurator: ## Predict with a real aiconfigurator, in a separate environment (1 GB)
	@AUTOTUNER_VENV="$(CACHE)/aiconfigurator" scripts/setup.sh aiconfigurator dev
	"$(CACHE)/aiconfigurator/bin/pytest" -m aiconfigurator tests/unit/priors

test-cluster: setup-test ## All tests on a Kubernetes node, including the long ones that break it
	@scripts/build-kueue.sh
	$(BIN)/pytest tests/integration/kubernetes tests/integration/kueue tests/integration/ome

test-ome: setup-test ## OME tests on the real OME, built from OME=CHECKOUT of github.com/sgl-project/ome
	@folder=$$(scripts/build-ome.sh "$(OME)" | tail -n 1) && \
		AUTOTUNER_TEST_OME=$$folder $(BIN)/pytest tests/integration/ome/deployer tests/integration/ome/preflight

cluster-build: ## Build the Kubernetes that tests run on, from Go modules (minutes, the first time)
	@scripts/build-kubernetes.sh

cluster-up: setup cluster-build ## Start a Kubernetes node with four simulated GPUs; prints its KUBECONFIG
	@$(BIN)/python scripts/cluster.py up "$(CACHE)/cluster"

cluster-down: ## Stop that node
	@$(BIN)/python scripts/cluster.py down "$(CACHE)/cluster"

pytest:
	$(BIN)/python scripts/run_tests.py

format: ## Format the code and apply ruff's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-loadgen: setup ## CPU per token and TTFT error of the load generator against a mock server's own clock
	$(BIN)/python benchmarks/loadgen.py

bench-overhead: setup ## Time that a trial takes beyond engine start and measuring
	$(BIN)/python benchmarks/trial_overhead.py

bench-cluster: setup cluster-build ## Time that a trial takes in a cluster, beyond starting and ending pods
	$(BIN)/python benchmarks/cluster_overhead.py

bench-search: setup ## Trials to a good configuration per search strategy, on measured landscapes (LANDSCAPES=file.csv ...)
	$(BIN)/python benchmarks/search_landscapes.py $(LANDSCAPES)

bench-proof: setup ## Wrong claims, answers and launches of proofs, on simulated studies (about 15 minutes on two cores)
	$(BIN)/python benchmarks/proof_simulation.py

bench-capacity: setup ## Errors and requests of the search for a capacity, on simulated servers (virtual time)
	$(BIN)/python benchmarks/capacity.py

bench-capacity-real: setup ## The same search on llama.cpp and the simulated SGLang, with repeats (minutes; needs a quiet machine)
	$(BIN)/python benchmarks/capacity_real.py

bench-startup: setup ## CPU time of commands that only read results
	$(BIN)/python benchmarks/startup.py

bench-server: setup ## Latency of pages and live updates of a server with 50,000 trials (10 minutes; needs a quiet machine)
	$(BIN)/python benchmarks/server.py

bench-server-pages: setup ## Pages of the web UI in a browser over 50,000 trials (OPTUNA=python with optuna-dashboard: beside it)
	$(BIN)/python benchmarks/server_pages.py $(if $(OPTUNA),--optuna $(OPTUNA))

clean: ## Remove environments and caches
	rm -rf $(VENV) $(CACHE) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
