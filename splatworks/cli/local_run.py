"""Runs a script on this machine through the container's own runner, with an S3 that lives as long as the run."""

import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from splatworks.cli.local_files import files_in
from splatworks.cli.local_script import MARK, ScriptFiles
from splatworks.cli.own_folder import NotOurFolderError, check_replaceable, replace_folder
from splatworks.cli.problems import Problem
from splatworks.cli.shipped import runner_script
from splatworks.cli.uploads import plan_upload, upload
from splatworks.contract.documents.request import RequestDocument, write_request
from splatworks.contract.keys import JOB, RESULT
from splatworks.planning import message as dispatcher_message
from splatworks.planning.job_plan import JobPlan, now, plan_job
from splatworks.planning.settings import Compute, DispatcherSettings, Instance

REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
INPUT_BUCKET, OUTPUT_BUCKET, MODELS_BUCKET = "local-input", "local-output", "local-models"
STOP_SECONDS = 110  # as ECS gives a container after SIGTERM


@dataclass(frozen=True, kw_only=True)
class LocalJob:
    """What is to be run."""

    script: ScriptFiles
    input: Path | None
    output: Path
    args: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None
    gpu: bool = False
    memory: int | None = None  # MiB; None is all that the machine has


@dataclass(frozen=True, kw_only=True)
class LocalEnd:
    """How it ended, in the words of Batch where the monitor reads them."""

    exit_code: int  # the container's
    reason: str
    memory: int  # MiB that it had
    plan: JobPlan
    message: dict[str, Any]
    report: dict[str, Any]  # job.json
    result: dict[str, Any]  # result.json
    files: list[str]
    began: float
    ended: float

    @property
    def own_exit_code(self) -> int:
        """The script's own exit code; the container's if the script did not run to an end."""
        code = self.report.get("exit_code")
        return code if isinstance(code, int) else self.exit_code


def run_local(job: LocalJob, write_line: Callable[[str], None]) -> LocalEnd:
    check_output(job)
    message = _message(job)
    request = dispatcher_message.parse(json.dumps(message), message_id="")
    plan = plan_job(request, _settings(job.memory))
    replace_folder(job.output, MARK)  # only now: a mistake in the options does not cost the last result
    with _LocalS3() as s3:
        for bucket in (INPUT_BUCKET, OUTPUT_BUCKET, MODELS_BUCKET):
            s3.client.create_bucket(Bucket=bucket)
        for key, path in job.script.files.items():
            s3.client.upload_file(str(path), INPUT_BUCKET, key)
        if job.input is not None:
            upload(s3.client, plan_upload(s3.client, INPUT_BUCKET, "input/", job.input), lambda _count: None)
        document = RequestDocument(request_id=request.identity, message=message, job=plan.job, submitted_at=now())
        s3.client.put_object(Bucket=OUTPUT_BUCKET, Key=plan.request_key, Body=write_request(document))
        began = time.time()
        exit_code, reason = _run_container(_environment(plan, s3.endpoint_url, job), write_line, job.memory)
        ended = time.time()
        files = _fetch_output(s3.client, plan.job.output_prefix, job.output)
    return LocalEnd(
        exit_code=exit_code,
        reason=reason,
        memory=job.memory or machine_memory(),
        plan=plan,
        message=message,
        report=_read(job.output / JOB),
        result=_read(job.output / RESULT),
        files=files,
        began=began,
        ended=ended,
    )


def existing(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not path.expanduser().exists():
        raise Problem(f"There is no folder or file {path}.", "Give --input one that is there.")
    return path.expanduser().resolve()


def check_output(job: LocalJob) -> None:
    """What an earlier run-local left there is replaced, anything else, and what the job reads, is not."""
    read = list(job.script.files.values())
    if job.input is not None:
        read += [job.input, *(file.path for file in files_in(job.input))]  # links in it may lead to the output
    try:
        check_replaceable(job.output, MARK, read)
    except NotOurFolderError as refused:
        raise Problem(str(refused), "Name another folder with --output.") from None


def _message(job: LocalJob) -> dict[str, Any]:
    data: dict[str, Any] = {"script_key": job.script.key, "compute_type": "gpu" if job.gpu else "cpu"}
    if job.input is not None:
        data["input"] = f"input/{job.input.name}" if job.input.is_file() else "input/"
    optional = {"args": job.args, "parameters": job.parameters, "operation": job.operation}
    data |= {name: value for name, value in optional.items() if value}
    data["request_id"] = f"local-{uuid.uuid4()}"
    return {"trigger_type": "batch_job", "data": data, "metadata": {"project": "local"}}


def _settings(memory: int | None) -> DispatcherSettings:
    """A platform of this one machine."""
    vcpus, mib = os.cpu_count() or 1, memory or machine_memory()

    def compute(gpus: int) -> Compute:
        machine = Instance("this machine", vcpus, mib, gpus)
        return Compute(
            queue="local",
            on_demand_queue="local",
            job_definition="local",
            vcpus=vcpus,
            memory=mib,
            gpus=gpus,
            max_vcpus=vcpus,
            instances=(machine,),
            image="this machine",
        )

    return DispatcherSettings(
        project_name="local",
        input_bucket=INPUT_BUCKET,
        output_bucket=OUTPUT_BUCKET,
        models_bucket=MODELS_BUCKET,
        extra_input_buckets=(),
        compute={"cpu": compute(0), "gpu": compute(1)},
        retry_rules=[],
        notification_topic_arn="local",
        trigger_topic_arn="local",
        dlq_url="local",
        idempotency_table="local",
    )


def machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def _environment(plan: JobPlan, endpoint_url: str, job: LocalJob) -> dict[str, str]:
    overrides = {pair["name"]: pair["value"] for pair in plan.submission["containerOverrides"]["environment"]}
    return {
        **overrides,
        **KEYS,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AWS_BATCH_JOB_ID": str(uuid.uuid4()),
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "ML_INPUT_BUCKET": INPUT_BUCKET,
        "ML_OUTPUT_BUCKET": OUTPUT_BUCKET,
        "ML_MODELS_BUCKET": MODELS_BUCKET,
        "COMPUTE_TYPE": "gpu" if job.gpu else "cpu",
        "PROJECT_NAME": "local",
    }


def _run_container(
    environment: dict[str, str], write_line: Callable[[str], None], memory: int | None
) -> tuple[int, str]:
    """Exit code, and what ECS would say about the container's end. Ctrl-C is the SIGTERM of a reclaimed machine."""
    from splatworks.sandbox.process import JobProcess

    with tempfile.TemporaryDirectory(prefix="splatworks-") as folder:
        process = JobProcess(
            runner_script(),
            [],
            environment,
            Path(folder),
            cache_folder() / "models",
            memory_mib=memory or machine_memory(),
        )
        try:
            code = process.wait(write_line)
        except KeyboardInterrupt:
            write_line("run-local: stopping; Ctrl-C again ends it at once")
            process.stop(STOP_SECONDS)
            try:
                code = process.wait(write_line)
            except KeyboardInterrupt:
                process.kill()
                code = process.wait(write_line)
        return code, process.killed_because


def cache_folder() -> Path:
    """What outlives a run, as EFS does: models, and pip's downloads."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "splatworks"


class _LocalS3:
    """moto's server in this process."""

    def __enter__(self) -> "_LocalS3":
        from splatworks.sandbox.moto_server import MotoServer, forget_everything

        forget_everything()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = MotoServer(0)
        self.endpoint_url = self._server.start()
        self.client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            verify=False,
        )
        return self

    def __exit__(self, *_: object) -> None:
        from splatworks.sandbox.moto_server import forget_everything

        self._server.stop()
        forget_everything()


def _fetch_output(s3: Any, prefix: str, folder: Path) -> list[str]:
    """What the platform would keep; the names of the script's own files."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=OUTPUT_BUCKET, Prefix=prefix)
    names = [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])]
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(OUTPUT_BUCKET, f"{prefix}{name}", str(target))
    return names


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
    return {}
