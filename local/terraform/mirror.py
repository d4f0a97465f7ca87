"""Find Terraform providers on this machine's disk; without them Terraform uses its registry."""

from __future__ import annotations

import os
import platform
from pathlib import Path

REGISTRY = "registry.terraform.io"


def cli_configuration(folder: Path) -> dict[str, str]:
    """Return the environment variables that make `terraform init` find the providers: TF_CLI_CONFIG_FILE, or none."""
    given = os.environ.get("TF_CLI_CONFIG_FILE")
    if given and Path(given).is_file():
        return {"TF_CLI_CONFIG_FILE": given}
    mirror = find_mirror()
    configuration = folder / "terraform.rc"
    # An empty file keeps a broken setting of the user's shell from warning at every command.
    configuration.write_text(mirror_configuration(mirror) if mirror else "")
    return {"TF_CLI_CONFIG_FILE": str(configuration)}


def mirror_configuration(mirror: Path) -> str:
    return f"""provider_installation {{
  filesystem_mirror {{
    path    = "{mirror}"
    include = ["{REGISTRY}/hashicorp/aws"]
  }}
  direct {{
    exclude = ["{REGISTRY}/hashicorp/aws"]
  }}
}}
"""


def find_mirror() -> Path | None:
    """Return the first folder that holds hashicorp/aws for this machine, in the layout of a filesystem mirror."""
    found = (folder for folder in mirror_candidates() if has_provider(folder / REGISTRY / "hashicorp" / "aws"))
    return next(found, None)


def mirror_candidates() -> list[Path]:
    home = Path.home()
    usual = [home / ".terraform.d" / "plugins", home / ".local" / "share" / "terraform" / "plugins"]
    usual += [Path("/usr/local/share/terraform/plugins"), Path("/usr/share/terraform/plugins")]
    parents = (Path("/opt"), Path("/usr/share"), Path("/usr/local/share"), home)
    return usual + [child for parent in parents for child in readable_folders(parent)]


def readable_folders(parent: Path) -> list[Path]:
    if not parent.is_dir() or not os.access(parent, os.R_OK | os.X_OK):
        return []
    return sorted(child for child in parent.iterdir() if os.access(child, os.R_OK | os.X_OK) and child.is_dir())


def has_provider(folder: Path) -> bool:
    """Tell if the provider is there: unpacked (version/os_arch/) or as terraform-provider-aws_version_os_arch.zip."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    system = f"{platform.system().lower()}_{machine}"
    return any(folder.glob(f"*/{system}")) or any(folder.glob(f"terraform-provider-aws_*_{system}.zip"))
