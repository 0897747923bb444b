# Everything that is done with the project, on a machine that has Python 3.11 or newer, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo
DEMO_EVENTS ?= 100000

.PHONY: demo test bench lint lock clean

# Exactly what was locked, checked by hash and nothing looked up anew, then the project itself.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# The main job, as Prefect flows on a temporary server: simulate, train, evaluate, register, score.
demo: export WINNOW_HOME := $(CURDIR)/$(DEMO)/home
demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/winnow simulate pion-muon $(DEMO) --events $(DEMO_EVENTS)
	$(BIN)/winnow train $(DEMO)/pion-muon.toml --as-flow > $(DEMO)/trained.txt
	$(BIN)/winnow score pion-muon $(DEMO)/new_tracks.root --out $(DEMO)/scored --as-flow > $(DEMO)/scored.txt
	@echo
	@cat $(DEMO)/trained.txt
	@echo "scored          $$(head -n 1 $(DEMO)/scored.txt)"
	@echo
	@echo "Open the report in a browser. To look at the runs in MLflow (port 5000) and Prefect (port 4200), and to"
	@echo "have the champion answer over HTTP (port 8000):"
	@echo "    WINNOW_HOME=$(DEMO)/home $(BIN)/winnow up $(DEMO)/pion-muon.toml"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Ratios to what one would do without Winnow, each measured in one run.
bench: $(READY)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-disable-gc -s
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/benchmarks/test_training.py --benchmark-only --benchmark-disable-gc -s

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Resolve the newest allowed versions anew, for Linux and macOS.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) $(DEMO)
