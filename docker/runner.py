"""The entry point of both images: S3 in, one script, S3 out. docs/contracts.md says what it promises.

Everything it asks of S3 it asks as the job role; a stage gets folders and no credentials.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from jobrunner.budget import Budget, price_per_hour, spent_before
from jobrunner.delivery import Delivered, discard, earlier_output, remove_stale, upload_output
from jobrunner.failures import FailureError, Interrupted, RunnerError, reason
from jobrunner.fetching import Plan, plan_downloads
from jobrunner.machine import MachineFacts
from jobrunner.meters import GpuMeter, MemoryMeter
from jobrunner.packages import install
from jobrunner.process import Child, Interruption, hide_environment
from jobrunner.report import Report
from jobrunner.request import Request
from jobrunner.results import copies, find, own_key, record
from jobrunner.settings import Settings, Timings
from jobrunner.store import AWS_FAULTS, RemoteFile, Store
from jobrunner.watching import CheckpointMirror, ProgressUpload, Repeater, SignOfLife
from jobrunner.workspace import clear, script_environment, with_packages

log = logging.getLogger("runner")


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
        self._budget: Budget | None = None
        self._earlier: frozenset[RemoteFile] = frozenset()

    def run(self) -> int:
        sign_of_life = SignOfLife(self._store, self._settings, self._report_now)
        with self._reported_failures():
            clear(self._settings)
            request = self._read_request()
            with sign_of_life.repeated(self._timings.sign_of_life):
                self._make_result(request)
        return self._conclude(sign_of_life)

    def _make_result(self, request: Request) -> None:
        with self._reported_failures():
            with self._report.phase("download"):
                plan = self._plan(request)
            if not self._reuse(request, plan):
                with self._within_budget(request):
                    self._work(plan, request)
        if self._report.script_ran:
            with self._reported_failures():
                self._deliver()

    def _work(self, plan: Plan, request: Request) -> None:
        self._fetch(plan, request)
        environment = script_environment(request, self._settings, os.environ)
        if plan.requirements:
            with self._report.phase("install"):
                packages = install(plan.requirements, self._settings.packages_dir, environment, self._interruption)
            environment = with_packages(environment, packages)
        self._run_script(plan, request, environment)

    @contextmanager
    def _reported_failures(self) -> Iterator[None]:
        """Turns whatever goes wrong into the words of job.json and an exit code."""
        try:
            yield
        except Interrupted:
            self._report.interrupted_early()
        except FailureError as error:
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
            names = [SignOfLife.NAME, "job.json"]
            left = [self._store.read(settings.output_bucket, settings.output_prefix + name) for name in names]
            self._report.after(*left)
            self._earlier = earlier_output(settings, self._store)
        return request

    def _of_child(self, request: Request) -> Request:
        settings = self._settings
        key = request.list_of_scenes
        scenes = self._store.read(settings.output_bucket, key) if key else None
        return request.of_child(settings.array_index, scenes, settings)

    def _plan(self, request: Request) -> Plan:
        plan = plan_downloads(request, self._settings, self._store)
        self._report.facts["inputs"] = [each.as_json() for each in plan.inputs]
        self._report.facts["content_key"] = own_key(request, plan.ingredients, plan.script_digest)
        return plan

    def _reuse(self, request: Request, plan: Plan) -> bool:
        """Takes over an earlier result of the same script, options and inputs, where there is one."""
        key = self._report.facts["content_key"]
        # Where the dispatcher made the key it has looked already.
        if key is None or request.content_key or request.fresh:
            return False
        result = find(key, plan.ingredients, self._settings, self._store)
        if result is None:
            return False
        self._facts.start()
        files = copies(result, self._settings)
        try:
            with self._report.phase("upload"):
                self._store.copy(files, self._interruption.asked)
        except (Interrupted, FailureError, *AWS_FAULTS) as error:
            discard([each.key for each in files], self._settings, self._store)
            if isinstance(error, Interrupted):
                raise
            log.warning("the earlier result in %s is not used: %s", result.prefix, reason(error))
            return False
        log.info("the script is not run: %s is a result of the same", result.prefix)
        self._report.reused(result.prefix)
        if request.max_cost_usd is not None:
            self._facts.wait(self._timings.price, unless=self._interruption.asked)  # the next stage adds it up
        self._delivered(Delivered(frozenset(each.key for each in files), sum(each.source.size for each in files)))
        return True

    @contextmanager
    def _within_budget(self, request: Request) -> Iterator[None]:
        """Ends what runs in it when max_cost_usd is reached, as an interruption would."""
        if request.max_cost_usd is None:
            yield
            return
        self._budget = self._open_budget(request, request.max_cost_usd)
        with Repeater(self._watch_budget, lambda: self._timings.cost):
            try:
                self._watch_budget()
                if self._budget.error:
                    raise self._budget.error
                yield
            except Interrupted:
                raise self._budget.error or Interrupted from None

    def _open_budget(self, request: Request, limit: float) -> Budget:
        self._facts.start()
        self._facts.wait(self._timings.price, unless=self._interruption.asked)
        if self._interruption.asked.is_set():
            raise Interrupted
        price = price_per_hour(self._facts)
        before = spent_before(request, self._report.facts["interruptions"], price, self._settings, self._store)
        return Budget(limit=limit, before=before, usd_per_hour=price, seconds=lambda: self._report.total_seconds)

    def _watch_budget(self) -> None:
        if self._budget:
            self._budget.check(self._interruption.ask)

    def _fetch(self, plan: Plan, request: Request) -> None:
        with self._report.phase("download"):
            self._store.download(plan.downloads, self._interruption.asked)
        self._report.script_fetched(plan.script)
        self._settings.parameters_file.write_text(json.dumps(request.parameters, indent=1))
        log.info("%d files, %.1f MB downloaded", len(plan.downloads), plan.size / 1e6)

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
        if self._budget and self._budget.error:
            log.error("%s", self._budget.error)
            self._report.stopped_for(self._budget.error)
        log.info("the script ended with exit code %d (%s)", exit_code, self._report.ended)
        mirror.finish()

    def _mirror(self, request: Request, plan: Plan) -> CheckpointMirror:
        settings = self._settings
        bucket, prefix = settings.output_bucket, request.checkpoint_prefix
        mirror = CheckpointMirror(settings.checkpoint_dir, self._store, bucket, prefix, self._timings.patience)
        mirror.restored(plan.downloads)
        return mirror

    def _repeaters(self, mirror: CheckpointMirror) -> list[Repeater]:
        settings, timings = self._settings, self._timings
        key = f"{settings.output_prefix}progress.json"
        progress = ProgressUpload(settings.output_dir / "progress.json", self._store, settings.output_bucket, key)
        return [
            Repeater(progress.update, lambda: timings.progress),
            Repeater(self._gpu.sample, lambda: timings.gpu),
            Repeater(mirror.update, lambda: self._checkpoint_interval(mirror)),
        ]

    def _checkpoint_interval(self, mirror: CheckpointMirror) -> float:
        soon = self._interruption.asked.is_set() or mirror.waits
        return self._timings.checkpoints_soon if soon else self._timings.checkpoints

    def _deliver(self) -> None:
        if self._report.ended in ("interrupted", "cost_limit"):
            self._write_report()  # the host may be gone before a large output is uploaded
        with self._report.phase("upload"):
            self._delivered(upload_output(self._settings, self._store))

    def _delivered(self, delivered: Delivered) -> None:
        self._report.facts["output"] = delivered.as_json()
        if self._settings.attempt > 1 and self._report.ended == "done":
            remove_stale(self._earlier, delivered, self._settings, self._store)

    def _conclude(self, sign_of_life: SignOfLife) -> int:
        """job.json, and `_SUCCESS` last of all."""
        self._facts.wait(self._timings.facts)
        with self._reported_failures():
            self._write_report()
            sign_of_life.remove()
            if self._report.ended == "done":
                settings, key = self._settings, self._report.facts["content_key"]
                self._store.write(settings.output_bucket, f"{settings.output_prefix}_SUCCESS", b"")
                # A copy is not recorded: the first of its kind is what all copies come from.
                if key and not self._report.facts["reused_from"]:
                    record(key, settings, self._store)
        return self._report.exit_code

    def _write_report(self) -> None:
        settings = self._settings
        self._gather()
        self._store.write(settings.output_bucket, f"{settings.output_prefix}job.json", self._report.as_json())

    def _report_now(self) -> bytes:
        self._gather()
        return self._report.sign_of_life()

    def _gather(self) -> None:
        facts, price = self._report.facts, self._facts.price
        facts["machine"] = self._facts.machine.as_json()
        facts["cost"] = price.cost(self._report.total_seconds) if price else None
        facts["peak_memory_mib"] = self._memory.peak_mib()
        facts["gpu"] = self._gpu.as_json()


if __name__ == "__main__":
    sys.exit(main())
