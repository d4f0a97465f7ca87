"""Apply the project's root module to the embedded AWS, from a copy in a separate folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from local.terraform.mirror import cli_configuration

MINIMUM = (1, 10)
PARALLELISM = 20  # most of an apply is waiting for waiters of the provider
# The root module reads these; tests and caches are not copied.
FOLDERS = ("modules", "jobs", "examples")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".terraform*", "*.tftest.hcl", "tests")

OVERRIDE = """# Written by the embedded AWS. Terraform merges it over the project's own settings.
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "embedded"
  secret_key                  = "embedded"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true
  max_retries                 = 2
}
"""


class TerraformError(Exception):
    """An error whose text is Terraform's own, or says what to install."""


class TerraformProject:
    def __init__(self, source: Path, folder: Path, environment: dict[str, str], log: Callable[[str], None]) -> None:
        self.folder = folder
        self._source = source
        self._log = log
        self._environment = environment
        self._cli = cli_configuration(folder.parent)

    def forget_state(self) -> None:
        """Delete the state of an earlier embedded AWS, whose resources no longer exist."""
        for path in self.folder.glob("terraform.tfstate*"):
            path.unlink()

    def prepare(self, variables: dict[str, Any]) -> None:
        """Copy the root module afresh; keep the state and the providers of an earlier copy."""
        check_installed()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            shutil.copytree(self._source / name, self.folder / name, ignore=IGNORED)
        for path in self.folder.glob("*.tf"):
            path.unlink()
        for path in self._source.glob("*.tf"):
            shutil.copy2(path, self.folder)
        self._copy_zip()
        (self.folder / "embedded_override.tf").write_text(OVERRIDE)
        self._check_declared(variables)
        (self.folder / "embedded.auto.tfvars.json").write_text(json.dumps(variables, indent=2))
        self._run_init()

    def _copy_zip(self) -> None:
        package = self._source / "build" / "lambda.zip"
        if not package.is_file():
            raise TerraformError(f"{package} is missing. Build the functions first: make lambda")
        (self.folder / "build").mkdir(exist_ok=True)
        shutil.copy2(package, self.folder / "build")

    def _check_declared(self, variables: dict[str, Any]) -> None:
        """Terraform only warns about a misspelt name in a variables file."""
        declared = re.findall(r'^variable "(\w+)"', (self._source / "variables.tf").read_text(), re.MULTILINE)
        unknown = sorted(set(variables) - set(declared))
        if unknown:
            raise TerraformError(f"there is no variable {', '.join(unknown)}. Known: {', '.join(declared)}")

    def _run_init(self) -> None:
        self._log("terraform init")
        done = self.run("init", "-input=false", "-no-color", "-reconfigure")
        if done.returncode:
            raise TerraformError(f"terraform init failed:\n{done.stderr.strip() or done.stdout.strip()}")

    def apply(self) -> dict[str, str]:
        started = time.monotonic()
        self._stream("apply", "-auto-approve")
        self._log(f"terraform apply took {time.monotonic() - started:.0f} s")
        return self.outputs()

    def destroy(self) -> None:
        started = time.monotonic()
        self._stream("destroy", "-auto-approve")
        self._log(f"terraform destroy took {time.monotonic() - started:.0f} s")

    def outputs(self) -> dict[str, str]:
        done = self.run("output", "-json", "-no-color")
        if done.returncode:
            raise TerraformError(f"terraform output failed:\n{done.stderr.strip()}")
        return {name: item["value"] for name, item in json.loads(done.stdout).items()}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["terraform", *arguments]
        return subprocess.run(  # noqa: S603
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )

    def environment(self) -> dict[str, str]:
        """Return an environment without the user's AWS settings, so that Terraform cannot reach a real account."""
        if not self._environment.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"):
            raise TerraformError("refusing to run terraform without the endpoint of the embedded AWS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        fixed = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        return {**kept, **self._environment, **self._cli, **fixed}

    def _stream(self, command: str, *options: str) -> None:
        arguments = ["terraform", command, "-json", "-input=false", f"-parallelism={PARALLELISM}", *options]
        process = subprocess.Popen(  # noqa: S603
            arguments,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a Ctrl-C is answered by who started us, in order
        )
        errors = []
        try:
            for kind, text in progress(cast(IO[str], process.stdout)):
                if kind == "error":
                    errors.append(text)
                else:
                    self._log(text)
        except BaseException:
            process.terminate()
            raise
        finally:
            code = process.wait()
        if code:
            raise TerraformError(f"terraform {command} failed:\n" + "\n".join(errors))


def progress(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return ("progress" | "error", text) for a line of `terraform -json` that a user wants to see."""
    total, done = 0, 0
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            yield "error", line.rstrip()
            continue
        kind = event.get("type")
        if kind == "planned_change" and event["change"]["action"] not in ("noop", "read"):
            total += 1
        elif kind == "apply_complete" and event["hook"]["action"] != "read":
            done += 1
            hook = event["hook"]
            seconds = hook.get("elapsed_seconds", 0)
            yield "progress", f"{done}/{total} {hook['resource']['addr']}" + (f" ({seconds} s)" if seconds >= 5 else "")
        elif kind == "diagnostic" and event["diagnostic"]["severity"] == "error":
            found = event["diagnostic"]
            where = (found.get("range") or {}).get("filename", "")
            yield "error", f"{found['summary']} {where}\n{found.get('detail', '')}".strip()


def check_installed() -> None:
    wanted = ".".join(map(str, MINIMUM))
    if shutil.which("terraform") is None:
        raise TerraformError(
            f"terraform is not on the PATH. Install {wanted} or newer: https://developer.hashicorp.com/terraform/install"
        )
    command = ["terraform", "version", "-json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    version = json.loads(done.stdout)["terraform_version"]
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < MINIMUM:
        raise TerraformError(f"terraform {version} is too old: {wanted} or newer is needed")
