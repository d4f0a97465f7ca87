# Two commands are all a newcomer needs: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
PY := .venv/bin/python
PEERS := @playcanvas/splat-transform@2.7.1 @sparkjsdev/spark@2.2.0 three@0.187.0
.DEFAULT_GOAL := help
.PHONY: help demo local test check bench torture peers viewer lambda format docs clean need-terraform

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: need-terraform  ## photos to a scene in the browser through the whole platform, on this machine (PHOTOS=dir for your own)
	@scripts/setup.sh all
	@$(PY) modules/lambda/build.py
	@$(PY) jobs/viewer/vendor.py  # stops here, and not after minutes in compress, which needs it
	@$(PY) -m local demo $(if $(PHOTOS),--photos "$(PHOTOS)")

local: need-terraform  ## serve the platform on this machine until Ctrl-C, for real aws commands
	@scripts/setup.sh all
	@$(PY) modules/lambda/build.py
	@$(PY) jobs/viewer/vendor.py || echo "[local] without the web viewer, stages/compress.py cannot run"
	@$(PY) -m local serve

test: need-terraform  ## unit tests, and the whole platform on the embedded AWS beside them (ARGS="..." for pytest)
	@scripts/setup.sh test
	@$(PY) modules/lambda/build.py
	@$(PY) jobs/viewer/vendor.py || echo "[test] without the web viewer: the tests of its pages are skipped"
	@echo "[test] unit tests, and beside them one embedded AWS with Terraform applied to it"
	$(PY) -m pytest $(or $(ARGS),-n auto)

check: need-terraform  ## format, lint, types, Terraform validate and test, checkov, shell and Dockerfile lint
	@scripts/setup.sh check
	@$(PY) modules/lambda/build.py
	@scripts/check.sh

bench: need-terraform  ## measure against named peers and print ratios (ONLY=lambda_bench for one)
	@scripts/setup.sh test
	@$(PY) modules/lambda/build.py
	@PYTHONPATH=jobs $(PY) -m bench $(ONLY)

torture: need-terraform  ## long experiments with what can go wrong (PART=spot, ONLY="train kill" for some of its rows)
	@scripts/setup.sh test
	@$(PY) -m torture $(or $(PART),--help) $(if $(ONLY),--only "$(ONLY)")

peers:  ## other people's viewers and converter, which tests compare ours with (needs npm)
	@npm install --prefix build/peers --no-save --no-audit --no-fund --loglevel=error $(PEERS)

viewer:  ## pack the web viewer that compress.py puts into its pages (from npm's registry, once)
	@scripts/setup.sh demo
	@$(PY) jobs/viewer/vendor.py

lambda:  ## build the Lambda functions' zip, build/lambda.zip
	@scripts/setup.sh demo
	@$(PY) modules/lambda/build.py

format:  ## rewrite Python and Terraform in the project's format
	@scripts/setup.sh check
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format . && terraform fmt -recursive

docs:  ## rewrite what is generated: the tables of the docs, the message's schema, the modules' READMEs
	@scripts/setup.sh check
	@$(PY) -m scripts.contract_docs
	@$(PY) scripts/module_docs.py

clean:  ## remove what the commands above made, .venv included
	rm -rf .venv .venv-checkov build demo-output splatworks-local .pytest_cache .ruff_cache .mypy_cache .hypothesis

need-terraform:
	@command -v terraform >/dev/null || { echo "error: terraform (1.10 or newer) is not on the PATH: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }
