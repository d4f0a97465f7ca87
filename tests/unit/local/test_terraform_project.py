"""What Terraform says, made short; where its providers are looked for; what it must never touch."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.terraform import project as terraform_project
from local.terraform.mirror import cli_configuration, has_provider, mirror_configuration
from local.terraform.project import TerraformError, TerraformProject, check_installed, progress


def line(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}) + "\n"


def test_progress_counts_what_changes_and_tells_what_was_slow() -> None:
    lines = [
        line("planned_change", change={"action": "create"}),
        line("planned_change", change={"action": "create"}),
        line("planned_change", change={"action": "read"}),
        line("apply_complete", hook={"action": "read", "resource": {"addr": "data.aws_x.y"}}),
        line(
            "apply_complete", hook={"action": "create", "resource": {"addr": "aws_s3_bucket.a"}, "elapsed_seconds": 1}
        ),
        line(
            "apply_complete", hook={"action": "create", "resource": {"addr": "aws_sqs_queue.b"}, "elapsed_seconds": 25}
        ),
    ]
    assert list(progress(lines)) == [
        ("progress", "1/2 aws_s3_bucket.a"),
        ("progress", "2/2 aws_sqs_queue.b (25 s)"),
    ]


def test_errors_and_what_is_not_json_are_shown_whole_and_warnings_are_not() -> None:
    diagnostic = {
        "severity": "error",
        "summary": "No such bucket",
        "detail": "Make one.",
        "range": {"filename": "a.tf"},
    }
    lines = [
        "panic: out of memory\n",
        line("diagnostic", diagnostic={"severity": "warning", "summary": "old"}),
        line("diagnostic", diagnostic=diagnostic),
    ]
    assert list(progress(lines)) == [("error", "panic: out of memory"), ("error", "No such bucket a.tf\nMake one.")]


@pytest.mark.parametrize("endpoint", [{}, {"AWS_ENDPOINT_URL": "https://s3.amazonaws.com"}])
def test_terraform_is_never_run_without_the_local_endpoint(tmp_path: Path, endpoint: dict[str, str]) -> None:
    project = TerraformProject(tmp_path, tmp_path / "terraform", endpoint, print)
    with pytest.raises(TerraformError, match="refusing to run terraform"):
        project.run("apply")


def test_nothing_of_the_users_own_aws_settings_reaches_terraform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ca.pem")
    monkeypatch.setenv("TF_VAR_project_name", "production")
    project = TerraformProject(tmp_path, tmp_path / "t", {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}, print)
    names = {name for name in project.environment() if name.startswith(("AWS_", "TF_VAR"))}
    assert names == {"AWS_ENDPOINT_URL"}


def test_a_missing_zip_says_what_to_run(tmp_path: Path) -> None:
    for name in ("modules", "jobs", "examples"):
        (tmp_path / "root" / name).mkdir(parents=True)
    project = TerraformProject(
        tmp_path / "root", tmp_path / "terraform", {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}, print
    )
    with pytest.raises(TerraformError, match="make lambda"):
        project.prepare({})


def test_an_old_terraform_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, stdout='{"terraform_version": "1.5.7"}')
    monkeypatch.setattr(terraform_project.subprocess, "run", lambda *_args, **_kw: done)
    monkeypatch.setattr(terraform_project.shutil, "which", lambda _name: "/usr/bin/terraform")
    with pytest.raises(TerraformError, match=r"terraform 1\.5\.7 is too old: 1\.10 or newer"):
        check_installed()


def test_a_missing_terraform_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terraform_project.shutil, "which", lambda _name: None)
    with pytest.raises(TerraformError, match=r"developer\.hashicorp\.com"):
        check_installed()


def test_providers_on_disk_are_used_in_either_layout_of_a_mirror(tmp_path: Path) -> None:
    system = f"{os.uname().sysname.lower()}_{'arm64' if os.uname().machine in ('aarch64', 'arm64') else 'amd64'}"
    unpacked, packed = tmp_path / "unpacked", tmp_path / "packed"
    (unpacked / "5.100.0" / system).mkdir(parents=True)
    packed.mkdir()
    assert has_provider(unpacked)
    assert not has_provider(packed)
    (packed / f"terraform-provider-aws_5.100.0_{system}.zip").touch()
    assert has_provider(packed)
    assert str(packed) in mirror_configuration(packed)


def test_a_given_cli_configuration_is_respected_and_a_missing_one_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "mine.rc"
    given.touch()
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(given))
    assert cli_configuration(tmp_path) == {"TF_CLI_CONFIG_FILE": str(given)}
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "gone.rc"))
    assert cli_configuration(tmp_path) == {"TF_CLI_CONFIG_FILE": str(tmp_path / "terraform.rc")}
    assert (tmp_path / "terraform.rc").is_file()


def test_a_state_of_an_earlier_embedded_aws_is_forgotten_and_the_providers_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "terraform"
    (folder / ".terraform").mkdir(parents=True)
    for name in ("terraform.tfstate", "terraform.tfstate.backup"):
        (folder / name).write_text("{}")
    TerraformProject(tmp_path, folder, {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}, print).forget_state()
    assert [path.name for path in folder.iterdir()] == [".terraform"]
