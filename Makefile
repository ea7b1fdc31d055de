# One door to everything. `make` alone lists the targets; every target sets itself up.
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup serve test test-integrations demo gateway check bench fuzz race rounds gen lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv from the hash-locked requirements (PYTHON=... picks the interpreter)
	@scripts/bootstrap

serve: setup ## run the sidecar on the embedded store
	@exec .venv/bin/countermand serve

demo: setup ## see an agent stopped mid-run, with and without Countermand (10 s, no network)
	@.venv/bin/countermand demo

test: setup ## run all tests, real Redis included (ARGS="-k name" narrows)
	@scripts/test $(ARGS)

gateway: setup ## serve examples/openai_gateway on loopback, with a sidecar of its own (ARGS="--port 8001")
	@$(PY) scripts/locked_venv.py .venv-integrations requirements/integrations.txt --editable
	@exec .venv-integrations/bin/python -m examples.openai_gateway $(ARGS)

test-integrations: setup ## run the tests against real SDKs and servers, in .venv-integrations (a minute to set up)
	@scripts/test_integrations $(ARGS)

check: setup ## format, lint, types, contract, generated code, import rules, secrets
	@scripts/check

bench: setup ## measure decisions, authority, truth, sessions, and how soon work stops (about 15 minutes)
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" $(PY) -m bench $(ARGS)
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" $(PY) -m bench.authority $(ARGS)
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" $(PY) -m bench.truth $(ARGS)
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" $(PY) -m bench.jobs
	@$(PY) -m bench.owner
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" $(PY) -m bench.session

fuzz: setup ## drive all stores with 200,000 random sequences and compare every reply
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" \
	  COUNTERMAND_FUZZ_SEQUENCES=$${COUNTERMAND_FUZZ_SEQUENCES:-200000} \
	  $(PY) -m pytest tests/store/test_differential.py $(ARGS)

race: setup ## race 300,000 commits against cancels, and authority and undo against what ends them (about 25 minutes)
	@redis=$$(scripts/ensure_redis) && REDIS_SERVER="$$redis" COUNTERMAND_RACES=$${COUNTERMAND_RACES:-300000} \
	  COUNTERMAND_AUTHORITY_RACES=$${COUNTERMAND_AUTHORITY_RACES:-10000} \
	  COUNTERMAND_DUTY_RACES=$${COUNTERMAND_DUTY_RACES:-3000} \
	  $(PY) -m pytest tests/races $(ARGS)

rounds: setup ## play 10,000 rounds of each race over authority, without the wire (ROUNDS=...; about an hour)
	@redis=$$(scripts/ensure_redis) && for kind in delegate extend fence approval budget; do REDIS_SERVER="$$redis" \
	  $(PY) -m tests.races.campaign $$kind --rounds $${ROUNDS:-10000} $(ARGS) || exit 1; done

gen: setup ## regenerate the contract's code and the derived sync client
	@$(PY) scripts/gen_proto.py
	@$(PY) scripts/unasync.py

lock: ## refresh the hash-locked requirements (needs the network)
	@scripts/lock

clean: ## remove environments and caches
	@rm -rf .venv .venv-* .venv*.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
