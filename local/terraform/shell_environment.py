"""Write a file to `source`, after which plain `aws` and `terraform` commands use the embedded AWS."""

from __future__ import annotations

import shlex
from pathlib import Path

from local.terraform.project import TerraformProject

FUNCTIONS = """
unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_PROFILE

terraform() {{ command terraform -chdir={terraform} "$@"; }}

# The newest aws on the PATH: version 1, often first there, knows no `aws logs tail`.
_newest_aws() {{
  local program
  command which -a aws | while read -r program; do
    printf '%s %s\\n' "$("$program" --version 2>&1 | sed -n 's|^aws-cli/\\([0-9.]*\\).*|\\1|p')" "$program"
  done | sort -V | tail -n 1
}}

aws() {{
  [ -n "${{_AWS_CLI:-}}" ] || _AWS_CLI=$(_newest_aws)
  if [ -z "$_AWS_CLI" ]; then
    echo "aws is not on the PATH. Install version 2 of the AWS CLI: https://aws.amazon.com/cli" >&2
    return 127
  fi
  # Versions before 2.13 do not read AWS_ENDPOINT_URL: without the option they would talk to the real AWS.
  "${{_AWS_CLI#* }}" --endpoint-url "$AWS_ENDPOINT_URL" "$@"
}}
"""


def write_shell_environment(path: Path, environment: dict[str, str], terraform: TerraformProject) -> None:
    cli = {name: value for name, value in terraform.environment().items() if name == "TF_CLI_CONFIG_FILE"}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in {**environment, **cli}.items()]
    path.write_text("\n".join(exports) + "\n" + FUNCTIONS.format(terraform=shlex.quote(str(terraform.folder))))
