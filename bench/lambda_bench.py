"""The Lambdas' own time: a warm message beside its AWS calls, what a cold start adds to boto3, the size of the zip."""

import compileall
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bench.table import Row

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "modules" / "lambda" / "build.py"
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "urllib3", "six.py", "jmespath")  # what Lambda has itself
IMPORTS = 7  # of each kind, in turns, so that both sides see the same machine

IMPORT = """
import sys, time
started = time.perf_counter()
__import__(sys.argv[1])
print((time.perf_counter() - started) * 1000)
"""

# The handler as Lambda calls it. The network is the only thing that is missing: what botocore does to build, sign and
# read each call is counted as our own time.
WARM = """
import json, statistics, sys, time, uuid
import dispatcher
from aws.clients import client
from botocore.awsrequest import AWSResponse

ANSWERS = {
    "ListJobs": {"jobSummaryList": []},
    "SubmitJob": {"jobName": "x", "jobId": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8"},
}

class InvocationContext:
    function_name, memory_limit_in_mb, aws_request_id = "dispatcher", 512, "1"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:dispatcher"
    get_remaining_time_in_millis = staticmethod(lambda: 60000)

calls = []

def answer(request, event_name, **_):
    operation = event_name.rsplit(".", 1)[1]
    calls.append(operation)
    response = AWSResponse(request.url, 200, {}, None)
    response._content = b"" if ".s3." in event_name else json.dumps(ANSWERS.get(operation, {})).encode()
    return response

for service in ("dynamodb", "batch", "s3"):
    client(service).meta.events.register("before-send", answer)

event = json.load(open(sys.argv[1]))
times = []
for _ in range(60):
    event["Records"][0]["Sns"]["MessageId"] = str(uuid.uuid4())
    started = time.perf_counter()
    dispatcher.handler(event, InvocationContext())
    times.append((time.perf_counter() - started) * 1000)
assert calls[:6] == ["PutItem", "ListJobs", "HeadObject", "PutObject", "SubmitJob", "UpdateItem"], calls[:6]
print(statistics.median(times[10:]), file=sys.stderr)
"""


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        task, runtime = Path(folder) / "task", Path(folder) / "runtime"
        size = _unpack_zip(task, Path(folder) / "lambda.zip")
        _copy_runtime(runtime)
        uncached = _cold_imports(task, runtime)
        compileall.compile_dir(runtime, quiet=2)
        deployed = _cold_imports(task, runtime)
        compileall.compile_dir(task, quiet=2)
        cached = _cold_imports(task, runtime)
        warm = _warm_message(task, runtime)
    peer = "import boto3"
    return [
        Row("dispatcher, one warm message without the network", warm, 15.0, "ms", "at most 15 ms", "the goal itself"),
        Row("dispatcher, cold import, bytecode cached on both sides", *cached, "ms", "at most 1.3 times", peer),
        Row("dispatcher, cold import, no bytecode on either side", *uncached, "ms", "at most 1.3 times", peer),
        Row("dispatcher, cold import, bytecode of boto3 only", *deployed, "ms", "none: our zip has no bytecode", peer),
        Row("Lambda zip", size / 1e6, 3.0, "MB", "at most 3 MB", "the goal itself"),
    ]


def _unpack_zip(task: Path, zip_path: Path) -> int:
    subprocess.run([sys.executable, BUILD, "--output", zip_path], check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(zip_path) as archive:
        archive.extractall(task)
    return zip_path.stat().st_size


def _copy_runtime(runtime: Path) -> None:
    """boto3 with what it needs and without bytecode; of botocore's data only what the dispatcher talks to."""
    import boto3

    site_packages = Path(boto3.__file__).parents[1]
    runtime.mkdir()
    for name in RUNTIME:
        source = site_packages / name
        if source.is_file():
            shutil.copy(source, runtime)
        else:
            shutil.copytree(source, runtime / name, ignore=_left_out)


def _left_out(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "data" and Path(folder).parent.name == "botocore":
        wanted = {"batch", "dynamodb", "s3", "sns", "sqs"}
        return {name for name in names if (Path(folder) / name).is_dir() and name not in wanted}
    return {"__pycache__"}


def _cold_imports(task: Path, runtime: Path) -> tuple[float, float]:
    """Milliseconds of `import dispatcher` and of `import boto3`, each in fresh processes."""
    times: dict[str, list[float]] = {"dispatcher": [], "boto3": []}
    for _ in range(IMPORTS):
        for module, taken in times.items():
            taken.append(float(_python([IMPORT, module], task, runtime).stdout))
    return min(times["dispatcher"]), min(times["boto3"])  # the least disturbed of each


def _warm_message(task: Path, runtime: Path) -> float:
    return float(_python([WARM, str(ROOT / "tests" / "events" / "sns_message.json")], task, runtime).stderr)


def _python(arguments: list[str], task: Path, runtime: Path) -> subprocess.CompletedProcess[str]:
    """As Lambda starts Python: our folder first, the runtime's second, and nothing of this machine."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{task}:{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "POWERTOOLS_METRICS_NAMESPACE": "bench",
        "POWERTOOLS_SERVICE_NAME": "dispatcher",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        **_settings(),
    }
    command = [sys.executable, "-S", "-c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment)


def _settings() -> dict[str, str]:
    arn = "arn:aws:{}:us-east-1:123456789012:{}".format
    gpu = {
        "queue": arn("batch", "job-queue/bench"),
        "on_demand_queue": None,
        "job_definition": arn("batch", "job-definition/bench:1"),
        "vcpus": 4,
        "memory": 15000,
        "gpus": 1,
        "max_vcpus": 48,
        "instances": [{"type": "g4dn.xlarge", "vcpus": 4, "memory": 15400, "gpus": 1}],
        "image": "registry.example.org/bench:latest",
    }
    return {
        "PROJECT_NAME": "bench",
        "INPUT_BUCKET": "bench-input",
        "OUTPUT_BUCKET": "bench-output",
        "MODELS_BUCKET": "bench-models",
        "EXTRA_INPUT_BUCKETS": "[]",
        "COMPUTE": json.dumps({"gpu": gpu}),
        "RETRY_RULES": "[]",
        "NOTIFICATION_TOPIC_ARN": arn("sns", "notifications"),
        "TRIGGER_TOPIC_ARN": arn("sns", "trigger"),
        "TRIGGER_DLQ_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dlq",
        "IDEMPOTENCY_TABLE": "bench",
    }
