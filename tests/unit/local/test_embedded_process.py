"""One embedded AWS: what it starts with, what it leaves, who else may have one."""

import socket
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS, FolderInUseError
from splatworks.sandbox.moto_server import PortInUseError, check_port


def test_a_second_one_in_the_process_is_refused(aws: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="runs in this process already"), EmbeddedAWS(tmp_path):
        pass


def test_a_folder_in_use_is_refused_with_what_to_do(aws: Any, tmp_path: Path) -> None:
    other = EmbeddedAWS(aws.folder)
    with pytest.raises(FolderInUseError, match="give another folder with --folder"):
        other._lock()


def test_a_port_in_use_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUseError, match="--port"):
            check_port(taken.getsockname()[1])


def test_the_environment_reaches_no_account_and_no_settings_of_the_user(aws: Any) -> None:
    environment = aws.environment
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert Path(environment["AWS_CONFIG_FILE"]).read_text() == ""
    assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"]
    assert "AWS_CA_BUNDLE" not in environment


def test_waiting_in_vain_says_what_was_waited_for_and_what_there_is(aws: Any) -> None:
    with pytest.raises(TimeoutError, match=r"an e-mail with 'never' in its subject.*Jobs:"):
        aws.wait_for_email("never", timeout=0.2)


def test_waiting_for_a_state_that_a_job_can_no_longer_reach_ends_at_once(queue: Any) -> None:
    job_id = queue.submit("exit", "0")
    queue.ended(job_id)
    with pytest.raises(AssertionError, match="is SUCCEEDED"):
        queue.aws.wait_for_job(job_id, until=("RUNNING",))
