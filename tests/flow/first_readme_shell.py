"""A user's checkout and shell, in which the commands of the first README run against the embedded AWS."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from local.embedded_aws import EmbeddedAWS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "data" / "first_readme.md"
BLOCK = re.compile(r"(?:<!-- (?P<name>[a-z-]+) -->\n)?```bash\n(?P<text>.*?)```", re.DOTALL)
# Variables that later blocks use.
KEPT = ("AWS_REGION", "ACCOUNT_ID", "INPUT_BUCKET", "TOPIC_ARN", "DLQ_URL", "MONITOR_DLQ_URL")
NOT_COPIED = (".git", ".venv*", ".terraform*", "*.tfstate*", "terraform.tfvars", "__pycache__", ".*_cache")
NOT_NEEDED = ("demo-output", "splatworks-local", "peers", "tests", "bench")

# Only for the embedded AWS: a bucket on 127.0.0.1 has no host name, and the credentials are not AWS's.
PROVIDER = """provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}
"""
BACKEND_OPTIONS = ("use_path_style", "skip_credentials_validation", "skip_metadata_api_check")
DOCKER = """#!/bin/bash
echo "docker $*" >> "$DOCKER_CALLS"
[[ $1 == login ]] && echo "password $(cat)" >> "$DOCKER_CALLS"
exit 0
"""


def read_blocks(page: Path = PAGE) -> list[tuple[str, str]]:
    """Return (name, text) of each bash block in the page's order."""
    return [(found["name"] or "", found["text"]) for found in BLOCK.finditer(page.read_text())]


def commands_in(block: str) -> list[str]:
    """Return the lines of a block that are commands; for blocks without continued lines."""
    return [line for line in block.splitlines() if line and not line.startswith("#")]


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str = ""

    def __str__(self) -> str:
        return f"exit code {self.returncode}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Checkout:
    """A user's copy of the repository. `aws` and a stand-in for `docker` are first on its PATH."""

    def __init__(self, platform: EmbeddedAWS, folder: Path, aws: str) -> None:
        self.platform = platform
        self.folder = folder / "checkout"
        self.docker_calls = folder / "docker-calls"
        self._bin = folder / "bin"
        self._variables = folder / "variables"
        self._variables.touch()
        self.docker_calls.touch()
        shutil.copytree(ROOT, self.folder, ignore=shutil.ignore_patterns(*NOT_COPIED, *NOT_NEEDED))
        self._prepare_terraform()
        self._bin.mkdir()
        self._install("docker", DOCKER)
        # As the function that `make local` gives to a shell; a program, so that build-and-push.sh has it too.
        self._install("aws", f'#!/bin/bash\nexec {shlex.quote(aws)} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n')

    def _prepare_terraform(self) -> None:
        (self.folder / "embedded_override.tf").write_text(PROVIDER)
        applied = self.platform.folder / "terraform"
        shutil.copy(applied / ".terraform.lock.hcl", self.folder)
        (self.folder / ".terraform").mkdir()
        (self.folder / ".terraform" / "providers").symlink_to(applied / ".terraform" / "providers")

    def _install(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)

    def run(self, text: str, answer: str = "") -> Ended:
        """Run commands against the platform under test, with its terraform state."""
        return self._run(self._script(text, self.platform.project_name), answer)

    def run_own(self, text: str, answer: str = "", apply_arguments: str = "") -> Ended:
        """Run commands against this checkout's own terraform state, in a project of its own."""
        backend = " ".join(f"-backend-config={name}=true" for name in BACKEND_OPTIONS)
        setup = f"""
unset -f terraform
export TF_CLI_ARGS_init={shlex.quote(backend)} TF_CLI_ARGS_apply={shlex.quote(apply_arguments)} TF_CLI_ARGS=-no-color
"""
        return self._run(self._script(f"{setup}\n{text}", "ml-pipeline"), answer)

    def _run(self, script: str, answer: str) -> Ended:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.platform.program_environment(),
            input=answer,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def follow(self, command: str, until: str, timeout: float = 60) -> Ended:
        """Run a command that does not end by itself, and press Ctrl-C after a line that contains `until`.

        The exit code is 0 if the line came and the command was still following.
        """
        process = subprocess.Popen(
            ["bash", "-c", self._script(command, self.platform.project_name)],
            cwd=self.folder,
            env=self.platform.program_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        limit = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if until in line:
                break
        time.sleep(0.5)  # enough for a command that does not follow to end
        following = process.poll() is None and any(until in line for line in lines)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate()
        limit.cancel()
        return Ended(0 if following else 1, "".join(lines) + rest)

    def _script(self, text: str, project: str) -> str:
        keep = f"for name in {' '.join(KEPT)}; do declare -p $name 2>/dev/null || true; done"
        return f"""set -eu
source {shlex.quote(str(self.platform.folder / "env"))}
unset -f aws
export PATH={shlex.quote(str(self._bin))}:$PATH DOCKER_CALLS={shlex.quote(str(self.docker_calls))}
export PROJECT_NAME={project}
source {shlex.quote(str(self._variables))}
trap '{keep} > {self._variables}' EXIT
{text}"""


def find_aws_cli() -> str | None:
    """Return the first AWS CLI of version 2 on the PATH; version 1 has no `aws logs tail`."""
    for folder in os.environ["PATH"].split(os.pathsep):
        program = shutil.which("aws", path=folder)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
        if version.startswith("aws-cli/2."):
            return program
    return None
