"""The runner's parts on their own: keys, lines, meters, the machine's facts."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ResponseStreamingError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobrunner.failures import RunnerError
from jobrunner.run.environment import without_credentials
from jobrunner.run.machine import MachineFacts, Price
from jobrunner.run.meters import GpuMeter, MemoryMeter
from jobrunner.run.process import REDRAW_SECONDS, LinePump
from jobrunner.store import MIB, Download, FileUpload, Store
from jobrunner.watch.checkpoints import CheckpointMirror
from splatworks.contract.documents.job import GpuUse, MachineInfo
from splatworks.contract.failures import UnusableInputError
from splatworks.contract.paths import path_below, refuse_collisions

FOLDER = Path("/workspace/input")


@settings(deadline=None)  # its 200 ms are of the wall clock, and other tests run beside
@given(st.text(alphabet=st.sampled_from(["/", ".", "a", "\\", "\0", "~", " ", "é", "\n", "\ud800"]), max_size=12))
@example("../x")
@example("/etc/passwd")
@example("a/../../x")
@example("..")
@example("")
def test_a_key_becomes_a_path_below_the_folder_or_is_refused(name: str) -> None:
    try:
        path = path_below(FOLDER, name, "s3://bucket/key")
    except UnusableInputError as error:
        assert error.exit_code == 2 and "s3://bucket/key" in str(error)
        return
    # What the system would open, not what the text says.
    assert Path(os.path.normpath(path)).is_relative_to(FOLDER) and os.path.normpath(path) == str(path)
    assert path.relative_to(FOLDER).as_posix() == name


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "é", "e\u0301"]), min_size=1, max_size=3), max_size=5))
def test_collisions_are_refused_and_nothing_else_is(names: list[list[str]]) -> None:
    paths = [FOLDER.joinpath(*parts) for parts in names]
    folded = [str(path).casefold().replace("e\u0301", "é") for path in paths]
    collides = len(set(folded)) < len(folded) or any(
        one != other and other.startswith(f"{one}/") for one in folded for other in folded
    )
    if collides:
        with pytest.raises(UnusableInputError, match="cannot both become files"):
            refuse_collisions((path, f"s3://b/{path}") for path in paths)
    else:
        refuse_collisions((path, f"s3://b/{path}") for path in paths)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab é", max_size=5), max_size=6), st.sampled_from(["\n", "\r\n"]), st.data())
def test_lines_are_the_same_however_the_pipe_cuts_them(lines: list[str], end: str, data: st.DataObject) -> None:
    stream = "".join(line + end for line in lines).encode()
    sink, tail = BytesIO(), deque[str](maxlen=20)
    pump = LinePump(sink, tail)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        pump.feed(stream[:size])
        stream = stream[size:]
    pump.finish()
    assert sink.getvalue().decode().split("\n")[:-1] == lines


def test_a_redrawn_progress_bar_becomes_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = BytesIO()
    now = [100.0]
    monkeypatch.setattr("jobrunner.run.process.time.monotonic", lambda: now[0])
    pump = LinePump(sink, deque())
    for percent in range(100):
        pump.feed(f"\r{percent}%".encode())
        now[0] += REDRAW_SECONDS / 20
    pump.feed(b"\rdone\n")
    shown = sink.getvalue().decode().split("\n")[:-1]
    assert 4 <= len(shown) <= 7 and shown[0] == "0%" and shown[-1] == "done"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    sink = BytesIO()
    pump = LinePump(sink, deque())
    for _ in range(10):
        pump.feed(b"x" * 60_000)
    assert len(sink.getvalue()) >= 480_000
    pump.finish()
    assert sink.getvalue().count(b"x") == 600_000


def test_credentials_are_taken_out_and_users_own_variables_stay() -> None:
    kept = {"PATH": "/bin", "HF_TOKEN": "users own", "AWS_DEFAULT_REGION": "x", "AWS_BATCH_JOB_ID": "1"}
    taken = dict.fromkeys(
        ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN",
         "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
         "AWS_CONTAINER_AUTHORIZATION_TOKEN", "ECS_CONTAINER_METADATA_URI_V4", "AWS_SHARED_CREDENTIALS_FILE"], "x"
    )  # fmt: skip
    assert without_credentials({**kept, **taken}) == kept


class BreakingBody:
    def iter_chunks(self, size: int) -> Iterator[bytes]:
        yield b"half"
        raise ResponseStreamingError(error="connection reset")


@pytest.mark.parametrize(("broken", "succeeds"), [(2, True), (3, False)])
def test_a_download_that_breaks_off_is_tried_again(
    aws_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, succeeds: bool
) -> None:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=aws_endpoint, **keys)
    client.create_bucket(Bucket="breaking-off")
    client.put_object(Bucket="breaking-off", Key="a", Body=b"the whole")
    store = Store(client)
    real, calls = client.get_object, []

    def get_object(**asked: str) -> dict:
        calls.append(asked)
        return {"Body": BreakingBody()} if len(calls) <= broken else real(**asked)

    monkeypatch.setattr(client, "get_object", get_object)
    download = Download(store.list("breaking-off", "a")[0], tmp_path / "a")
    if succeeds:
        store.download([download], threading.Event())
        assert (tmp_path / "a").read_bytes() == b"the whole"
    else:
        with pytest.raises(RunnerError, match="connection reset"):
            store.download([download], threading.Event())


@pytest.mark.parametrize(
    ("size", "complaint"), [(3, "PreconditionFailed"), (9 * MIB, "ETag")], ids=["in one request", "in parts"]
)
def test_an_object_that_is_replaced_after_the_listing_is_not_downloaded(
    aws_endpoint: str, tmp_path: Path, size: int, complaint: str
) -> None:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=aws_endpoint, **keys)
    client.create_bucket(Bucket="changing")
    client.put_object(Bucket="changing", Key="a", Body=b"1" * size)
    [listed] = Store(client).list("changing", "a")
    client.put_object(Bucket="changing", Key="a", Body=b"2" * size)
    with pytest.raises(RunnerError, match=complaint) as failed:
        Store(client).download([Download(listed, tmp_path / "a")], threading.Event())
    assert failed.value.failure.code == "download_failed" and "s3://changing/a" in str(failed.value)
    assert not (tmp_path / "a").exists() or not (tmp_path / "a").read_bytes()


class Uploads(Store):
    """Takes note of what comes, and of nothing else."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def upload(self, bucket: str, files: Sequence[FileUpload]) -> dict[FileUpload, os.stat_result]:
        self.keys += [file.key for file in files]
        return {file: file.path.stat() for file in files}

    def delete(self, bucket: str, keys: Sequence[str]) -> None: ...


def test_a_checkpoint_that_is_being_written_waits_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("jobrunner.watch.checkpoints.time.monotonic", lambda: now[0])
    monkeypatch.setattr("jobrunner.watch.checkpoints.time.time_ns", lambda: int(now[0] * 1e9))
    store = Uploads()
    mirror = CheckpointMirror(tmp_path, store, "bucket", "checkpoints/", patience=5)

    def look(after: float, *written: str) -> list[str]:
        now[0] += after
        for name in written:
            (tmp_path / name).write_text(str(now[0]))
            os.utime(tmp_path / name, (now[0], now[0]))
        store.keys.clear()
        mirror.update()
        return [key.removeprefix("checkpoints/") for key in store.keys]

    assert look(0, "whole", "slow") == [] and mirror.waits
    assert look(1.5, "slow") == ["whole"] and mirror.waits
    assert look(3, "slow") == []
    assert look(0.5, "slow") == ["slow"] and not mirror.waits  # 5 seconds after it was first seen
    assert look(25) == []
    assert look(0, "slow") == [] and mirror.waits
    assert look(1) == ["slow"] and not mirror.waits


def cgroup(folder: Path, processes: list[int], peak: int, kills: int) -> Path:
    (folder / "cgroup.procs").write_text("".join(f"{each}\n" for each in processes))
    (folder / "memory.peak").write_text(f"{peak}\n")
    (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 3\noom 1\noom_kill {kills}\n")
    return folder


def test_memory_is_read_from_a_cgroup_of_ones_own(tmp_path: Path) -> None:
    meter = MemoryMeter(cgroup(tmp_path, [os.getpid()], 812 * 2**20, kills=1))
    assert meter.peak_mib() == 812
    assert not meter.killed(137)
    cgroup(tmp_path, [os.getpid(), 4711], 812 * 2**20, kills=2)
    assert meter.killed(137) and meter.killed(1)  # also a killed worker that the script answered with 1


def test_a_shared_cgroup_tells_nothing_about_this_job(tmp_path: Path) -> None:
    meter = MemoryMeter(cgroup(tmp_path, [os.getpid(), 4711, 4712], 10**12, kills=0))
    assert meter.peak_mib() != round(10**12 / 2**20)
    cgroup(tmp_path, [os.getpid()], 10**12, kills=1)
    assert not meter.killed(1) and meter.killed(137)


def test_without_a_cgroup_the_largest_child_counts(tmp_path: Path) -> None:
    meter = MemoryMeter(tmp_path / "absent")
    assert not meter.killed(137)
    subprocess.run([sys.executable, "-c", "x = bytearray(80 * 2**20)"], check=True)
    assert 80 <= (meter.peak_mib() or 0) < 10**6


@pytest.mark.parametrize("version", [1, 2])
def test_kills_for_lack_of_memory_are_counted_by_both_versions_of_cgroups(tmp_path: Path, version: int) -> None:
    folder = tmp_path / ("memory" if version == 1 else "")
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    events = folder / ("memory.oom_control" if version == 1 else "memory.events")
    before = "oom_kill_disable 0\nunder_oom 0\n" if version == 1 else "low 0\nhigh 0\nmax 9\noom 1\n"
    events.write_text(f"{before}oom_kill 0\n")
    meter = MemoryMeter(tmp_path)
    assert not meter.killed(137)
    events.write_text(f"{before}oom_kill 1\n")
    assert meter.killed(137)


@pytest.mark.parametrize("refused", [0, 3])
def test_a_kernel_that_does_not_count_kills_says_how_often_the_limit_was_reached(tmp_path: Path, refused: int) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    (folder / "memory.max_usage_in_bytes").write_text(f"{812 * 2**20}\n")
    (folder / "memory.failcnt").write_text("7\n")
    meter = MemoryMeter(tmp_path)
    assert meter.peak_mib() == 812
    (folder / "memory.failcnt").write_text(f"{7 + refused}\n")
    # The limit is reached without a kill, too, when the kernel drops cached files.
    assert not meter.killed(1) and meter.killed(137) is bool(refused)


def test_gpu_use_is_the_mean_of_samples_and_the_peak_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in *name) echo "NVIDIA A10G";; *) cat "$(dirname "$0")/now";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    meter = GpuMeter()
    assert meter.use() is None and meter.names() == ["NVIDIA A10G"]
    for now in ("90, 9000\n", "[N/A], [N/A]\n", "80, 9120\n"):
        (tmp_path / "now").write_text(now)
        meter.sample()
    assert meter.use() == GpuUse(utilization_percent=85.0, memory_peak_mib=9120)
    tool.write_text("#!/bin/sh\nexit 9\n")
    meter.sample()
    assert meter.use() == GpuUse(utilization_percent=85.0, memory_peak_mib=9120)


@pytest.fixture
def aws(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def metadata() -> Iterator[tuple[str, list[object]]]:
    """The ECS agent: its address, and what it answers last in a list."""
    answers: list[object] = [{}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v4/task" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answers[-1]).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v4", answers
    server.shutdown()


def start_task() -> tuple[str, str]:
    """An ECS task on an EC2 instance, as AWS Batch makes them: cluster and task."""
    ec2, ecs = boto3.client("ec2"), boto3.client("ecs")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    placed = {"InstanceType": "g5.xlarge", "Placement": {"AvailabilityZone": "us-east-1a"}}
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, **placed)["Instances"][0]["InstanceId"]
    cluster = ecs.create_cluster(clusterName=f"batch-{instance}")["cluster"]["clusterArn"]
    document = json.dumps({"instanceId": instance})
    registered = ecs.register_container_instance(cluster=cluster, instanceIdentityDocument=document)
    container = {"name": "job", "image": "x", "cpu": 4096, "memory": 15000}
    ecs.register_task_definition(family="job", containerDefinitions=[container])
    arn = registered["containerInstance"]["containerInstanceArn"]
    task = ecs.start_task(cluster=cluster, taskDefinition="job", containerInstances=[arn])["tasks"][0]["taskArn"]
    return cluster, task


def find_out(address: str) -> MachineFacts:
    facts = MachineFacts(address, lambda: ["NVIDIA A10G"])
    facts.start()
    facts.wait(30)
    return facts


@pytest.mark.usefixtures("aws")
def test_machine_and_lifecycle_come_from_ecs_and_ec2(metadata: tuple[str, list[object]]) -> None:
    address, answers = metadata
    cluster, task = start_task()
    answers.append({"Cluster": cluster, "TaskARN": task})
    facts = find_out(address)
    machine = facts.known
    assert machine is not None
    assert (machine.instance_type, machine.lifecycle, machine.availability_zone, machine.gpus) == (
        "g5.xlarge", "on-demand", "us-east-1a", ("NVIDIA A10G",),
    )  # fmt: skip
    assert facts.price is None  # only spot prices are public history; another is not guessed
    assert facts.problem == "this g5.xlarge is an on-demand machine"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("answer", [{}, {"Cluster": "none", "TaskARN": "none"}, ["odd"], "odd"])
def test_what_cannot_be_found_out_stays_null(metadata: tuple[str, list[object]], answer: object) -> None:
    address, answers = metadata
    answers.append(answer)
    facts = find_out(address)
    assert facts.known == MachineInfo(gpus=("NVIDIA A10G",))
    assert facts.price is None


def test_a_machine_of_which_nothing_is_known_is_null() -> None:
    assert MachineFacts(None, list).known is None


def test_an_agent_that_does_not_answer_costs_nothing_but_the_facts() -> None:
    assert find_out("http://127.0.0.1:9/v4").machine.instance_type is None


class SpotEC2:
    """EC2 as it answers for a spot instance; moto has neither InstanceLifecycle nor a price history for one zone."""

    def describe_instances(self, InstanceIds: list[str]) -> dict:  # noqa: N803 (boto3's names)
        placement = {"AvailabilityZone": "us-east-1c"}
        instance = {"InstanceType": "g5.xlarge", "InstanceLifecycle": "spot", "Placement": placement}
        return {"Reservations": [{"Instances": [instance]}]}

    def describe_spot_price_history(self, **asked: object) -> dict:
        assert asked["InstanceTypes"] == ["g5.xlarge"] and asked["AvailabilityZone"] == "us-east-1c"
        return {"SpotPriceHistory": [{"SpotPrice": "0.5", "Timestamp": 1}, {"SpotPrice": "0.74", "Timestamp": 2}]}


def test_a_spot_machines_cost_is_its_latest_price_times_the_seconds() -> None:
    facts = MachineFacts(None, list)
    facts._ask_ec2(SpotEC2(), "i-1")
    assert facts.machine.lifecycle == "spot" and facts.price is not None
    cost = facts.price.cost(1800)
    assert (cost.usd, cost.usd_per_hour) == (0.37, 0.74)
    assert cost.source.startswith("EC2 spot price history, us-east-1c, 20")


def test_a_spot_machine_without_a_price_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = MachineFacts(None, list)
    monkeypatch.setattr(SpotEC2, "describe_spot_price_history", lambda *_, **__: {"SpotPriceHistory": []})
    facts._ask_ec2(SpotEC2(), "i-1")
    assert facts.price is None and facts.problem == "EC2 has no spot price of g5.xlarge here"


def test_the_jobs_share_of_the_machine_is_noted() -> None:
    facts = MachineFacts(None, list)
    facts._note_share({"containers": [{"cpu": "4096", "memory": "15000"}]})
    assert (facts.machine.vcpus, facts.machine.memory_mib) == (4, 15000)


def test_prices_are_per_hour() -> None:
    assert Price(3.6, "test").cost(1).usd == 0.001
