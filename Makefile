# Without ROS: `make demo` is the main job, `make test` the test suite; both set up on first use.
# With ROS 2 in the environment use colcon (README.md); the targets here keep to their own .venv even then.
#
#   make demo ARGS='--drones 20 --orders 100'      make test ARGS='test/unit -k saga'      make setup PYTHON=python3.12

# Variables of a sourced ROS 2 or of an outer environment would shadow the packages of .venv.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE

BIN := .venv/bin
ARGS ?=
ifdef PYTHON
export PYTHON
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev interfaces frontend demo test coverage lint mutants bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv: ROS 2 from wheels, drone_interfaces, fleetctl (PYTHON=python3.12 chooses the Python)
	@tools/setup

setup-dev: ## the same, with the tools for test and lint
	@tools/setup --dev

interfaces: ## rebuild drone_interfaces, whether or not a message changed
	@tools/setup --interfaces

frontend: ## build the dashboard from frontend/ into the gateway's static files (needs npm)
	@cd frontend && npm ci --ignore-scripts && npm run --silent build

demo: setup ## run the main job: a fleet, orders, kills, a report (ARGS='--drones 6 --orders 24 --seed 1')
	@$(BIN)/fleetctl demo $(ARGS)

test: setup-dev ## run all tests; as root on Debian or Ubuntu it first installs etcd if there is none (ARGS='-k saga')
	@tools/system_packages
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

coverage: setup-dev ## fail if the unit tests cover less than 98 % of core, planning or verification (lines and branches)
	@$(BIN)/python -m pytest test/unit --ignore=test/unit/gateway -m 'not slow' -n auto --cov --cov-report=
	@for package in core planning verification; do $(BIN)/python -m coverage report --skip-covered --show-missing \
	  --include="*/drone_orchestrator/$$package/*" --fail-under=98 || exit 1; done

lint: setup-dev ## ruff, mypy and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

mutants: setup ## break the core on purpose and check that the simulation notices (ARGS='--seeds 50 leader_not_fenced')
	@$(BIN)/python test/simulation/hunt.py $(ARGS)

bench: setup ## measure everything and write docs/benchmarks.md, 20 min (ARGS='--only throughput latency')
	@$(BIN)/python benchmarks/report.py $(ARGS)

clean: ## remove .venv and everything built or cached
	@rm -rf .venv frontend/node_modules build install log junit.xml htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
	  .mypy_cache .pytest_cache .ruff_cache
	@find src test tools launch benchmarks \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} + 2>/dev/null || true
