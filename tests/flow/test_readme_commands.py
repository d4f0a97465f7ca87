"""Every bash block of the README says why it is not run, or is run here, word for word, with the real AWS CLI."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS
from tests.optional_programs import need_program

from .job_folders import job_lines, models_folder

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```bash\n(?P<text>.*?)```", re.DOTALL)

SCRIPT = """
import os
from pathlib import Path
(Path(os.environ["OUTPUT_DIR"]) / "ran-on.txt").write_text(os.environ["COMPUTE_TYPE"])
"""

pytestmark = pytest.mark.flow


def blocks(page: str = "README.md") -> list[tuple[str, str]]:
    """(mark, text) of each bash block, in the page's order."""
    return [(found["mark"] or "", found["text"]) for found in BLOCK.finditer((ROOT / page).read_text())]


def run_bash(script: str, platform: EmbeddedAWS, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a shell set up as `make local` tells people to set up theirs."""
    text = f"set -euo pipefail\nsource {platform.folder / 'env'}\n{script}"
    return subprocess.run(["bash", "-c", text], cwd=cwd, capture_output=True, text=True, timeout=240)


def check(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args[-1]}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def aws_cli() -> None:
    need_program("aws")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands mention: script.py, photos/, examples/."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "photos").mkdir()
    (folder / "photos" / "notes.txt").write_text("no photo")  # the stage must say so, and cost nothing more
    for name in ("examples", "scripts", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def ran(aws_cli: None, platform: EmbeddedAWS, work: Path) -> str:
    """Output of all blocks marked `run`, in one shell: a variable set in one is there in the next."""
    return check(run_bash("\n".join(text for mark, text in blocks() if mark == "run"), platform, work))


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_every_bash_block_is_run_or_says_why_not(page: str) -> None:
    for mark, text in blocks(page):
        assert mark == "run" or mark.startswith("run:") or mark.startswith("not run: "), f"unmarked block:\n{text}"


def test_readme_commands_publish_messages_that_become_jobs(platform: EmbeddedAWS, ran: str) -> None:
    assert ran.count('"MessageId"') == 4
    for name in ("train", "gpu_processing", "cleanup_processor"):
        assert platform.wait_for_job(f"{name}-", timeout=120)["status"] == "SUCCEEDED"


def test_readme_photo_message_ends_in_an_email_that_says_what_is_wrong_with_the_photos(
    platform: EmbeddedAWS, ran: str
) -> None:
    assert platform.wait_for_job("my-scene-", timeout=120)["status"] == "FAILED"
    email = platform.wait_for_email("my-scene-", timeout=60)
    assert "FAILED in sfm" in email.subject and "photo" in email.body


def test_queues_are_listed_under_their_documented_names(ran: str) -> None:
    assert '"jobSummaryList"' in ran


def test_readme_cleanup_message_empties_the_models_folder(platform: EmbeddedAWS, ran: str) -> None:
    job = platform.wait_for_job("cleanup_processor-", timeout=120)
    (line,) = [line for line in job_lines(platform, job) if line.startswith("freed ")]
    assert line.endswith(f"from {models_folder(platform)}")


def test_logs_are_shown_under_their_documented_names(
    platform: EmbeddedAWS, aws_cli: None, work: Path, script: Callable[..., dict[str, Any]]
) -> None:
    """`aws logs tail` shows ten minutes, and a slow machine may have run the other tests' jobs earlier than that."""
    data = script("print('a line for aws logs tail', flush=True)\n")
    (text,) = [text for mark, text in blocks() if mark == "run" and "aws logs tail" in text]
    commands = [line for line in text.splitlines() if line.startswith("aws logs tail")]
    assert [command.rpartition("-ml-")[2] for command in commands] == ["jobs", "trigger-dispatcher", "job-monitor"]
    platform.publish({"trigger_type": "batch_job", "data": data})
    job = platform.wait_for_job(data["job_name"], timeout=120)
    platform.wait_for_email(data["job_name"], timeout=60)  # so that all three have written a line by now

    jobs, dispatcher, monitor = (check(run_bash(command, platform, work)) for command in commands)

    assert "a line for aws logs tail" in jobs
    assert job["jobId"] in dispatcher and job["jobId"] in monitor


@pytest.mark.usefixtures("aws_cli")
def test_dead_letter_command_shows_the_refused_message_unchanged(platform: EmbeddedAWS, work: Path) -> None:
    message = '{"trigger_type": "batch_job", "data": {"script_kee": "jobs/train.py"}}'
    platform.publish(message)
    platform.wait_for_email("refused", timeout=60)
    script = (
        'DLQ_URL=$(terraform output -raw trigger_dlq_url)\naws sqs receive-message --queue-url "$DLQ_URL" --output text'
    )
    assert "script_kee" in check(run_bash(script, platform, work))


def test_dead_letters_are_published_again_by_the_documented_command(platform: EmbeddedAWS, work: Path) -> None:
    url, bucket = platform.outputs["trigger_dlq_url"], platform.outputs["ml_input_bucket"]
    platform.client("s3").put_object(Bucket=bucket, Key="jobs/dead_letter.py", Body=SCRIPT.encode())
    message = '{"trigger_type": "batch_job", "data": {"script_key": "jobs/dead_letter.py", "compute_type": "cpu"}}'
    envelope = json.dumps({"Records": [{"Sns": {"Message": message}}]})
    platform.client("sqs").send_message(QueueUrl=url, MessageBody=envelope)

    (command,) = (text for mark, text in blocks("docs/operations.md") if mark == "run")
    assert "published again: 1" in check(run_bash(command, platform, work))

    assert platform.wait_for_job("dead_letter-", timeout=60)["status"] == "SUCCEEDED"


@pytest.mark.usefixtures("aws_cli")
def test_terminate_command_stops_a_running_job_with_the_reason(platform: EmbeddedAWS, work: Path) -> None:
    (work / "sleeper.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(300)\n")
    check(
        run_bash("aws s3 cp sleeper.py s3://$(terraform output -raw ml_input_bucket)/jobs/sleeper.py", platform, work)
    )
    platform.publish({"trigger_type": "batch_job", "data": {"script_key": "jobs/sleeper.py", "compute_type": "cpu"}})
    job = platform.wait_for_job("sleeper-", until=("RUNNING",), timeout=60)

    (command,) = (text for mark, text in blocks() if mark == "run: JOB_ID")
    check(run_bash(f"JOB_ID={job['jobId']}\n{command}", platform, work))

    ended = platform.wait_for_job(job["jobId"], timeout=60)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "wrong parameters")


def test_build_and_push_checks_its_arguments_before_it_needs_docker(platform: EmbeddedAWS) -> None:
    command = "cd modules/batch/docker && ./build-and-push.sh $AWS_REGION 12 $PROJECT_NAME ml-python-slim"
    done = run_bash(command, platform, ROOT)
    assert done.returncode != 0
    assert "12 digits" in done.stderr.replace("12-digit", "12 digits")
