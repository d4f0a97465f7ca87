"""The entry point of both images: S3 in, one script, S3 out. docs/contracts.md says what it promises.

Everything it asks of S3 it asks as the job role; a stage gets folders and no credentials.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobrunner.delivery import remove_stale, upload_output
from jobrunner.failures import Interrupted, RunnerError, reason
from jobrunner.fetching import Plan, plan_downloads
from jobrunner.machine import MachineFacts
from jobrunner.meters import GpuMeter, MemoryMeter
from jobrunner.packages import install
from jobrunner.process import Child, Interruption, hide_environment, without_credentials
from jobrunner.report import Report
from jobrunner.request import Request
from jobrunner.settings import Settings, Timings
from jobrunner.store import AWS_FAULTS, Store
from jobrunner.watching import CheckpointMirror, ProgressUpload, Repeater

log = logging.getLogger("runner")

STAGES = "stages/"  # the platform's own scripts in the input bucket


def main(timings: Timings = Timings()) -> int:  # noqa: B008 (frozen)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="runner: %(message)s")
    log.setLevel(logging.INFO)
    hide_environment()
    try:
        settings = Settings.from_environment(os.environ)
    except RunnerError as error:
        log.error("%s", error)
        return int(error.exit_code)
    interruption = Interruption(timings.stop)
    interruption.listen()
    return Attempt(settings, timings, Store.connect(), interruption).run()


class Attempt:
    """One attempt of one job."""

    def __init__(self, settings: Settings, timings: Timings, store: Store, interruption: Interruption) -> None:
        self._settings = settings
        self._timings = timings
        self._store = store
        self._interruption = interruption
        self._report = Report(settings)
        self._memory = MemoryMeter()
        self._gpu = GpuMeter()
        self._facts = MachineFacts(os.environ.get("ECS_CONTAINER_METADATA_URI_V4"), self._gpu.names)

    def run(self) -> int:
        with self._reported_failures():
            _clear(self._settings)
            request = self._read_request()
            plan = self._fetch(request)
            environment = self._environment(request)
            if plan.requirements:
                environment = self._with_packages(plan.requirements, environment)
            self._run_script(plan, request, environment)
        if self._report.script_ran:
            with self._reported_failures():
                self._deliver()
        return self._conclude()

    @contextmanager
    def _reported_failures(self) -> Iterator[None]:
        """Turns whatever goes wrong into the words of job.json and an exit code."""
        try:
            yield
        except Interrupted:
            self._report.interrupted_early()
        except RunnerError as error:
            log.error("%s", error)
            self._report.failed(error)
        except AWS_FAULTS as error:
            failure = RunnerError("aws_fault", reason(error), "Publish the message again", retryable=True)
            log.error("%s", failure)
            self._report.failed(failure)
        except Exception as error:
            log.exception("an error of the runner's own")
            self._report.failed(RunnerError("internal_error", repr(error), "Report it with the log of this job"))

    def _read_request(self) -> Request:
        settings = self._settings
        text = self._store.read(settings.output_bucket, settings.request_key)
        if text is None:
            raise RunnerError(
                "no_request",
                f"s3://{settings.output_bucket}/{settings.request_key} does not exist",
                "Submit jobs by publishing a message to the trigger topic",
            )
        request = self._of_child(Request.parse(text, settings))
        self._report.requested(request)
        if settings.attempt > 1:
            self._report.after(self._store.read(settings.output_bucket, f"{settings.output_prefix}job.json"))
        return request

    def _of_child(self, request: Request) -> Request:
        settings = self._settings
        scenes = self._store.read(settings.output_bucket, request.scenes_key) if request.scenes_key else None
        return request.of_child(settings.array_index, scenes, settings)

    def _fetch(self, request: Request) -> Plan:
        with self._report.phase("download"):
            plan = plan_downloads(request, self._settings, self._store)
            self._report.facts["inputs"] = [each.as_json() for each in plan.inputs]
            self._store.download(plan.downloads, self._interruption.asked)
        self._report.script_fetched(plan.script)
        self._settings.parameters_file.write_text(json.dumps(request.parameters, indent=1))
        log.info("%d files, %.1f MB downloaded", len(plan.downloads), plan.size / 1e6)
        return plan

    def _environment(self, request: Request) -> dict[str, str]:
        settings = self._settings
        parameters = {f"PARAM_{name.upper()}": _text(value) for name, value in request.parameters.items()}
        operation = {} if request.operation is None else {"OPERATION": request.operation}
        return {
            **_inherited(request.script_key),
            "INPUT_DIR": str(settings.input_dir),
            "OUTPUT_DIR": str(settings.output_dir),
            "CHECKPOINT_DIR": str(settings.checkpoint_dir),
            "MODELS_DIR": str(settings.models_dir),
            "PARAMETERS_FILE": str(settings.parameters_file),
            "TMPDIR": str(settings.temporary_dir),
            "OUTPUT_PREFIX": settings.output_prefix,
            "PYTHONUNBUFFERED": "1",
            **parameters,
            **operation,
        }

    def _with_packages(self, requirements: Path, environment: dict[str, str]) -> dict[str, str]:
        with self._report.phase("install"):
            packages = install(requirements, self._settings.packages_dir, environment, self._interruption)
        path = os.pathsep.join(filter(None, [str(packages), environment.get("PYTHONPATH")]))
        return {**environment, "PYTHONPATH": path}

    def _run_script(self, plan: Plan, request: Request, environment: dict[str, str]) -> None:
        if self._interruption.asked.is_set():
            raise Interrupted
        mirror = self._mirror(request, plan)
        command = [sys.executable, str(plan.script), *request.args]
        log.info("starting %s", request.script_key)
        with self._report.phase("script"), ExitStack() as beside:
            child = Child(command, cwd=plan.script.parent, environment=environment)
            self._facts.start()
            for repeater in self._repeaters(mirror):
                beside.enter_context(repeater)
            exit_code = self._interruption.run(child)
        oom_kill = self._memory.killed(exit_code)
        stopped = self._interruption.asked.is_set()
        self._report.script_ended(exit_code, stopped=stopped, oom_kill=oom_kill, last_lines=list(child.tail))
        log.info("the script ended with exit code %d (%s)", exit_code, self._report.ended)
        mirror.finish()

    def _mirror(self, request: Request, plan: Plan) -> CheckpointMirror:
        settings = self._settings
        mirror = CheckpointMirror(
            settings.checkpoint_dir, self._store, settings.output_bucket, request.checkpoint_prefix
        )
        mirror.restored(plan.downloads)
        return mirror

    def _repeaters(self, mirror: CheckpointMirror) -> list[Repeater]:
        settings, timings = self._settings, self._timings
        key = f"{settings.output_prefix}progress.json"
        progress = ProgressUpload(settings.output_dir / "progress.json", self._store, settings.output_bucket, key)
        return [
            Repeater(progress.update, lambda: timings.progress),
            Repeater(self._gpu.sample, lambda: timings.gpu),
            Repeater(mirror.update, self._checkpoint_interval),
        ]

    def _checkpoint_interval(self) -> float:
        stopping = self._interruption.asked.is_set()
        return self._timings.checkpoints_stopping if stopping else self._timings.checkpoints

    def _deliver(self) -> None:
        if self._report.ended == "interrupted":
            self._write_report()  # the host may be gone before a large output is uploaded
        with self._report.phase("upload"):
            self._report.facts["output"] = upload_output(self._settings, self._store)
            if self._report.ended == "done" and self._settings.attempt > 1:
                remove_stale(self._settings, self._store)

    def _conclude(self) -> int:
        """job.json, and `_SUCCESS` last of all."""
        self._facts.wait(self._timings.facts)
        bucket, prefix = self._settings.output_bucket, self._settings.output_prefix
        with self._reported_failures():
            self._write_report()
            if self._report.ended == "done":
                self._store.write(bucket, f"{prefix}_SUCCESS", b"")
        return self._report.exit_code

    def _write_report(self) -> None:
        facts, price = self._report.facts, self._facts.price
        facts["machine"] = self._facts.machine.as_json()
        facts["cost"] = price.cost(self._report.total_seconds) if price else None
        facts["peak_memory_mib"] = self._memory.peak_mib()
        facts["gpu"] = self._gpu.as_json()
        settings = self._settings
        self._store.write(settings.output_bucket, f"{settings.output_prefix}job.json", self._report.as_json())


def _inherited(script_key: str) -> dict[str, str]:
    """Stages read strangers' photos: nothing leads them to the job role. People's own scripts may use it."""
    return without_credentials(os.environ) if script_key.startswith(STAGES) else dict(os.environ)


def _clear(settings: Settings) -> None:
    """Empty folders, whatever an earlier job left in the workspace."""
    folders = [
        settings.input_dir,
        settings.output_dir,
        settings.checkpoint_dir,
        settings.code_dir,
        settings.temporary_dir,
    ]
    try:
        for path in [*folders, settings.packages_dir, settings.parameters_file]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in folders:
            path.mkdir(parents=True)
        settings.models_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunnerError(
            "workspace_unusable", f"the workspace cannot be prepared: {error}", "Make the folder writable for this user"
        ) from error


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
