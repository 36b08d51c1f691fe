# What a machine needs: python3, make and a package index. Everything else is fetched into .uv/ and .venv/.
# ARGS passes words on: make demo ARGS="--defect bridge:refuse-existing-session"

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench prove lock venv

# uv reads the certificates of the system, as pip and curl do; without this it trusts only those it was built with.
export UV_NATIVE_TLS := 1
export UV_SYSTEM_CERTS := 1

# An activated environment of somebody else's must not be taken for ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

# Media between processes may take the address of any Docker network on this machine, and breaks when that goes with the
# run it belongs to: so what makes such networks runs after the rest, not beside it.
# Of pytest's exit codes 1 is "some failed", after which the other part still runs, and 5 is "nothing selected", which one
# part may say where ARGS choose, but never both, and in CI none. Any other, e.g. that of Ctrl-C, ends it.
# How many may be begun at once; each then waits for its turn, which depends on what the machine does (harness.turns).
CORES := $(shell nproc)
# When this make began; not in a file, which another one (the test of `make test`, too) would overwrite in the middle.
BEGAN := $(shell date +%s)
JOBS ?= $(shell expr $(CORES) \* 2 + 1)

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
READY := .venv/.ready

help: ## show these lines
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 14

demo: $(READY) ## the main job: force quit, the cloud comes back, do captions?
	$(BIN)/aftershock run force-quit-restart-cloud $(ARGS)

test: $(READY) ## unit tests, then every scenario, JOBS side by side, DEADLINE seconds long; skips are listed
	$(BIN)/python -m fixtures.made_first
	$(BIN)/python -m pytest -q -n $(CORES) harness/tests
	@trap 'exit 130' INT; code=0; none=0; for part in "not container" container; do \
	  echo "scenarios: $$part"; seen=0; \
	  left=$$(( $(or $(DEADLINE),0) - $$(date +%s) + $(BEGAN) )); \
	  $(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup scenarios -m "$$part" \
	    $(if $(JUNIT),--junitxml="$(JUNIT)/$${part// /-}.xml") $(if $(DEADLINE),--deadline $$(( left > 0 ? left : 1 ))) $(ARGS) || seen=$$?; \
	  case $$seen in \
	    0) ;; \
	    1) code=1 ;; \
	    5) none=$$((none + 1)); [[ $$none = 1 && $${CI:-0} =~ ^(0|false)$$ ]] || code=5 ;; \
	    *) exit $$seen ;; \
	  esac; \
	done; exit $$code

lint: $(READY) ## ruff, mypy --strict, import contract, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(READY) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## measure, and write benchmarks/RESULTS.md and results.json
	$(BIN)/python benchmarks/measure.py $(ARGS)

prove: $(READY) ## repeat scenarios and defects until proof/plan.toml is fulfilled (ARGS="--for 600 --only kill-cloud")
	$(BIN)/python -m harness.prove --jobs $(JOBS) $(ARGS)

lock: | $(UV) ## resolve the dependencies anew into requirements.lock
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes -o requirements.lock
	$(UV) pip compile docker/requirements.in -c requirements.lock --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" --quiet -o docker/requirements.txt

venv: $(READY) ## only make .venv

$(READY): requirements.lock pyproject.toml | $(UV)
	test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

.uv/bin/uv:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "expected a python3 that can make virtual environments; saw $$(command -v python3 || echo none) without ensurepip; install it (Debian: apt-get install python3-venv) or install uv"; exit 3; }
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv
