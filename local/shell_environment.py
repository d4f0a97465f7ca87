"""A file to `source`, after which plain `aws` and `terraform` commands mean the embedded AWS."""

from __future__ import annotations

import shlex
from pathlib import Path

from local.terraform_project import TerraformProject

# Older CLIs do not read AWS_ENDPOINT_URL: without this function they would talk to the real AWS.
FUNCTIONS = """
unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_PROFILE

terraform() {{ command terraform -chdir={terraform} "$@"; }}

aws() {{
  local version
  version=$(command aws --version 2>&1 | sed -n 's|^aws-cli/\\([0-9]*\\.[0-9]*\\).*|\\1|p')
  if [ "$(printf '%s\\n' 2.13 "$version" | sort -V | head -n 1)" = 2.13 ]; then
    command aws "$@"
  else
    command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
  fi
}}
"""


def write_shell_environment(path: Path, environment: dict[str, str], terraform: TerraformProject) -> None:
    cli = {name: value for name, value in terraform.environment().items() if name == "TF_CLI_CONFIG_FILE"}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in {**environment, **cli}.items()]
    path.write_text("\n".join(exports) + "\n" + FUNCTIONS.format(terraform=shlex.quote(str(terraform.folder))))
