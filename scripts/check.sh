#!/usr/bin/env bash
# All static checks and the plan-only Terraform tests. Goes on after a failure and names every one at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH="$PWD/.venv/bin:$PWD/.venv-checkov/bin:$PATH"

mkdir -p build
TF_CLI_CONFIG_FILE=$(python -c '
from pathlib import Path
from local.terraform.mirror import cli_configuration
print(cli_configuration(Path("build").resolve())["TF_CLI_CONFIG_FILE"])')
export TF_CLI_CONFIG_FILE TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
# Nothing here needs an account; fake keys keep a plan from looking for real ones.
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_EC2_METADATA_DISABLED=true

failed=()
check() {
  local name=$1 output started=$SECONDS
  shift
  printf '[check] %-34s' "$name"
  if output=$("$@" 2>&1); then
    printf 'ok (%d s)\n' $((SECONDS - started))
  else
    printf 'FAILED\n%s\n' "$output"
    failed+=("$name")
  fi
}

terraform_tests() { # in the folder given, which may be the root
  terraform -chdir="$1" init -backend=false -input=false -no-color >/dev/null &&
    terraform -chdir="$1" validate -no-color &&
    terraform -chdir="$1" test -no-color
}

mapfile -t shell_scripts < <(git ls-files '*.sh' .ci/run)
mapfile -t dockerfiles < <(git ls-files '*Dockerfile')
mapfile -t tested < <(git ls-files '*.tftest.hcl' | xargs -n1 dirname | xargs -n1 dirname | sort -u)

check "ruff format" ruff format --check .
check "ruff" ruff check .
check "mypy" mypy
# Each program's folder is on the path in its own container or zip.
check "imports of the rooms" env PYTHONPATH=jobs:docker:modules/lambda/functions lint-imports --no-cache
check "code rules" python -m scripts.code_rules
check "terraform fmt" terraform fmt -check -recursive
for folder in "${tested[@]}"; do
  check "terraform test $folder" terraform_tests "$folder"
done
check "docs of the contract" python -m scripts.contract_docs --check
check "module READMEs" python scripts/module_docs.py --check
check "checkov" checkov -d . --framework terraform --compact --quiet --skip-download --skip-path '\.terraform|\.venv|splatworks-local|demo-output'
check "shellcheck" shellcheck "${shell_scripts[@]}"
check "hadolint" hadolint "${dockerfiles[@]}"

if [ ${#failed[@]} -gt 0 ]; then
  printf '[check] failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi
echo "[check] all well"
