"""The host's notices, and the script on the host that writes them."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobrunner.watch.notice import seconds_left
from splatworks.contract.host import BAD_HOST, DRAINED, HOST_DIR, INTERRUPTION, REBALANCE

ROOT = Path(__file__).parents[3]
QUICK = "progress=0.2, checkpoints=30, checkpoints_soon=0.1, patience=0.3, stop=30, notice=0.1"
SAVES = """
import os, signal, sys, time
from pathlib import Path
state = Path(os.environ["CHECKPOINT_DIR"]) / "state"
def stop(*_):
    state.write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("begins with", state.read_text() if state.exists() else "nothing", flush=True)
if not state.exists():
    (Path(os.environ["OUTPUT_DIR"]) / "started").touch()
    time.sleep(60)
"""
DEAF = SAVES.replace("state.write_text", "return; state.write_text")


def notice(seconds: float) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": "terminate", "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ")})


def started(job: Any, script: str) -> subprocess.Popen[str]:
    job.script(script)
    (job.folder / "host").mkdir()
    process: subprocess.Popen[str] = job.start(timings=QUICK, **{HOST_DIR: str(job.folder / "host")})
    job.wait_until((job.workspace / "output/started").exists)
    return process


def test_a_notice_stops_the_script_which_saves_and_the_next_attempt_goes_on(job: Any) -> None:
    process = started(job, SAVES)
    (job.folder / "host" / INTERRUPTION).write_text(notice(120))
    first = job.finish(process)
    assert first.exit_code == 75
    assert (job.report["ended"], job.report["stop_requested"]) == ("interrupted", True)
    assert job.read("state", job.checkpoints) == "saved"
    assert "begins with saved" in job.run(attempt=2).stdout


def test_a_script_that_is_deaf_ends_before_the_host_does(job: Any) -> None:
    process = started(job, DEAF)
    begun = time.monotonic()
    (job.folder / "host" / INTERRUPTION).write_text(notice(6))
    assert job.finish(process).exit_code == 75
    assert time.monotonic() - begun < 6
    assert job.report["exit_code"] == 137 and job.report["ended"] == "interrupted"


def test_a_sigterm_after_the_notice_gives_no_more_time(job: Any) -> None:
    process = started(job, DEAF)
    begun = time.monotonic()
    (job.folder / "host" / INTERRUPTION).write_text(notice(6))
    job.wait_until(lambda: time.monotonic() - begun > 1)
    process.terminate()
    assert job.finish(process).exit_code == 75
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize("text", ["", "{", "[]", '{"time": 7}', '{"time": "soon"}', "[" * 4000, "\0" * 10_000])
def test_a_notice_that_cannot_be_read_counts_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / INTERRUPTION).write_text(text)
    assert seconds_left(tmp_path / INTERRUPTION) == 120


def test_a_notice_from_the_past_or_of_next_year_is_kept_within_two_minutes(tmp_path: Path) -> None:
    path = tmp_path / INTERRUPTION
    path.write_text(notice(-500))
    assert seconds_left(path) == 0
    path.write_text(notice(10**7))
    assert seconds_left(path) == 120


def test_after_a_recommended_rebalance_checkpoints_go_up_at_once_and_the_script_goes_on(job: Any) -> None:
    job.script("""
import os, time
from pathlib import Path
for number in range(60):
    (Path(os.environ["CHECKPOINT_DIR"]) / "state").write_text(str(number))
    time.sleep(1.2 if number else 0)
    (Path(os.environ["OUTPUT_DIR"]) / "started").touch()
""")
    (job.folder / "host").mkdir()
    process = job.start(timings=QUICK, **{HOST_DIR: str(job.folder / "host")})
    job.wait_until((job.workspace / "output/started").exists)
    time.sleep(1)
    assert job.read("state", job.checkpoints) is None  # every 30 s
    (job.folder / "host" / REBALANCE).write_text('{"noticeTime": "2026-12-01T09:00:00Z"}')
    job.wait_until(lambda: job.read("state", job.checkpoints))
    assert process.poll() is None
    job.lose_host(process)


class HostServices(BaseHTTPRequestHandler):
    """Stands for instance metadata, the ECS agent and ECS; the tests below change its answers."""

    documents: ClassVar[dict[str, str]] = {}
    tasks: ClassVar[list[str]] = []
    drained: ClassVar[list[dict[str, Any]]] = []
    refused = 0  # so many calls of ECS are refused first
    tokens: ClassVar[set[str]] = set()
    faults = 0  # so many answers of metadata are 503 first

    def do_PUT(self) -> None:
        token = f"token-{len(self.tokens)}"
        self.tokens.add(token)
        self._answer(200, token)

    def do_GET(self) -> None:
        if self.path.startswith("/v1/"):
            tasks = [{"Arn": f"task/{number}", "KnownStatus": status} for number, status in enumerate(self.tasks)]
            host = {"Cluster": "spot_cluster", "ContainerInstanceArn": "arn:aws:ecs:eu-west-1:1:container-instance/c/7"}
            self._answer(200, json.dumps({"Tasks": tasks} if self.path == "/v1/tasks" else host))
        elif type(self).faults:
            type(self).faults -= 1
            self._answer(503, '{"action": "none of it"}')
        elif self.headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            self._answer(401, "")
        else:
            text = self.documents.get(self.path.removeprefix("/latest/meta-data/"))
            self._answer(404 if text is None else 200, text or "<html>404 - Not Found</html>")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = type(self)
        if kind.refused:
            kind.refused -= 1
            self._answer(400, "{}")
            return
        body["target"], body["token"] = self.headers["X-Amz-Target"], self.headers["X-Amz-Security-Token"]
        body["signed"] = self.headers["Authorization"].split(",")[0]
        self.drained.append(body)
        self._answer(200, "{}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def host(folder: Path) -> Iterator[tuple[type[HostServices], Path, subprocess.Popen[bytes]]]:
    """A host with its services and its watcher; `shutdown` writes a file instead."""
    role = {"AccessKeyId": "AKIA1", "SecretAccessKey": "s+/=", "Token": "session=="}
    services = type("Services", (HostServices,), {"tokens": set(), "tasks": [], "drained": [], "documents": {}})
    services.documents |= {"placement/region": "eu-west-1", "iam/security-credentials/": "host-role"}
    services.documents["iam/security-credentials/host-role"] = json.dumps(role, indent=2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), services)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    programs = folder / "bin"
    programs.mkdir()
    (programs / "shutdown").write_text(f'#!/bin/sh\necho "$@" > {folder}/shutdown\n')
    (programs / "shutdown").chmod(0o755)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    names = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ECS_AGENT_URI", "AWS_ENDPOINT_URL_ECS")
    environment = dict.fromkeys(names, address) | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOST_DIR": str(folder / "run"),
        "WATCH_SECONDS": "0.1",
        "NO_PROXY": "127.0.0.1",
    }
    process = subprocess.Popen(["bash", ROOT / "modules/batch/host/watch.sh"], env=environment)
    try:
        yield services, folder / "run", process
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()


def wait_until(ready: Any) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline, "waited half a minute in vain"
        time.sleep(0.05)


def test_the_hosts_watcher_writes_what_metadata_says_and_nothing_before(tmp_path: Path) -> None:
    with host(tmp_path) as (services, run, process):
        wait_until(lambda: services.tokens)
        time.sleep(0.5)
        assert list(run.iterdir()) == []
        services.documents["spot/instance-action"] = said = notice(120)
        services.documents["events/recommendations/rebalance"] = '{"noticeTime": "2026-12-01T09:00:00Z"}'
        wait_until(lambda: (run / REBALANCE).exists() and (run / INTERRUPTION).exists())
        assert (run / INTERRUPTION).read_text() == said
        assert {path.name for path in run.iterdir()} <= {INTERRUPTION, REBALANCE}
        assert process.poll() is None


def test_the_hosts_watcher_outlives_metadata_that_forgets_its_tokens(tmp_path: Path) -> None:
    with host(tmp_path) as (services, run, _):
        wait_until(lambda: services.tokens)
        services.tokens.clear()
        services.documents["spot/instance-action"] = notice(120)
        wait_until((run / INTERRUPTION).exists)


def test_the_hosts_watcher_outlives_faults_of_metadata_and_takes_none_for_a_notice(tmp_path: Path) -> None:
    with host(tmp_path) as (services, run, _):
        wait_until(lambda: services.tokens)
        services.faults = 6
        wait_until(lambda: not services.faults)
        assert list(run.iterdir()) == []
        services.documents["spot/instance-action"] = said = notice(120)
        wait_until((run / INTERRUPTION).exists)
        assert (run / INTERRUPTION).read_text() == said


def _link(path: Path) -> None:
    (path.parent.parent / "precious").write_text("the host's")
    path.symlink_to(path.parent.parent / "precious")


@pytest.mark.parametrize("name", [INTERRUPTION, f".{INTERRUPTION}.new", REBALANCE])
@pytest.mark.parametrize("leave", [os.mkfifo, Path.mkdir, _link], ids=["pipe", "folder", "link"])
def test_files_that_a_job_left_in_the_folder_neither_block_nor_redirect_the_notices(
    tmp_path: Path, name: str, leave: Callable[[Path], None]
) -> None:
    with host(tmp_path) as (services, run, process):
        wait_until(lambda: services.tokens)
        leave(run / name)
        services.documents["events/recommendations/rebalance"] = '{"noticeTime": "2026-12-01T09:00:00Z"}'
        services.documents["spot/instance-action"] = said = notice(120)
        for kind in (INTERRUPTION, REBALANCE):
            wait_until(lambda kind=kind: (run / kind).is_file() and not (run / kind).is_symlink())
        assert (run / INTERRUPTION).read_text() == said
        assert process.poll() is None
        if leave is _link:
            assert (tmp_path / "precious").read_text() == "the host's"


@pytest.mark.parametrize("leave", [os.mkfifo, Path.mkdir, _link], ids=["pipe", "folder", "link"])
def test_a_bad_host_ends_whatever_kind_of_file_a_job_left(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    with host(tmp_path) as (services, run, process):
        wait_until(lambda: services.tokens)
        leave(run / DRAINED)
        leave_bad_host = os.mkfifo if leave is os.mkfifo else Path.touch
        leave_bad_host(run / BAD_HOST)
        assert process.wait(timeout=30) == 0
        assert (run / DRAINED).is_file() and (tmp_path / "shutdown").exists()
        if leave is _link:
            assert (tmp_path / "precious").read_text() == "the host's"


def test_a_host_whose_gpu_is_bad_takes_no_more_jobs_and_ends_after_those_that_run(tmp_path: Path) -> None:
    with host(tmp_path) as (services, run, process):
        services.tasks, services.refused = ["RUNNING", "STOPPED"], 2
        wait_until(lambda: services.tokens)
        (run / BAD_HOST).write_text('{"job_id": "j", "cause": "no CUDA"}')
        wait_until(lambda: services.drained)
        assert services.drained[0] == {
            "cluster": "spot_cluster",
            "containerInstances": ["arn:aws:ecs:eu-west-1:1:container-instance/c/7"],
            "status": "DRAINING",
            "target": "AmazonEC2ContainerServiceV20141113.UpdateContainerInstancesState",
            "token": "session==",
            "signed": services.drained[0]["signed"],
        }
        assert services.drained[0]["signed"].startswith("AWS4-HMAC-SHA256 Credential=AKIA1/")
        wait_until((run / DRAINED).exists)
        time.sleep(0.5)
        assert not (tmp_path / "shutdown").exists()
        services.tasks = ["STOPPED"]
        assert process.wait(timeout=30) == 0
        assert (tmp_path / "shutdown").read_text().split() == ["-h", "now"]
        assert len(services.drained) == 1
