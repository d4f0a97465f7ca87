"""The entry point of both images: S3 in, one script, S3 out. docs/contracts.md says what it promises.

Everything it asks of S3 it asks as the job role; a stage gets folders and no credentials.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from jobrunner.deliver.output import Delivered, discard, earlier_output, remove_stale, upload_output
from jobrunner.deliver.report import Report
from jobrunner.deliver.reuse import copies, find, own_key, record
from jobrunner.failures import FailureError, Interrupted, RunnerError, aws_fault, reason
from jobrunner.fetch.downloads import DownloadPlan, plan_downloads
from jobrunner.fetch.request import ChildRequest, read_child_request
from jobrunner.probe.command import COMMAND, probe
from jobrunner.probe.host_check import METADATA, HostCheck, mark_bad_host
from jobrunner.run.budget import Budget, price_per_hour, spent_before
from jobrunner.run.environment import hide_environment, script_environment, with_packages, with_thread_counts
from jobrunner.run.machine import MachineFacts
from jobrunner.run.meters import GpuMeter, MemoryMeter
from jobrunner.run.packages import install
from jobrunner.run.process import Child
from jobrunner.run.stop_signal import StopSignal
from jobrunner.run.workspace import clear
from jobrunner.settings import Settings, Timings
from jobrunner.store import AWS_FAULTS, RemoteFile, Store
from jobrunner.watch.checkpoints import CheckpointMirror
from jobrunner.watch.notice import HostNotices
from jobrunner.watch.progress import ProgressUpload
from jobrunner.watch.repeater import Repeater
from jobrunner.watch.sign_of_life import SignOfLife
from splatworks.contract.documents.job import COST_LIMIT, DONE, FAILED, INPUT_ERROR, INTERRUPTED, JobReport, write_job
from splatworks.contract.exit_codes import ContainerCode
from splatworks.contract.host import BAD_HOST_ERROR
from splatworks.contract.keys import JOB, PROGRESS, RUNNING, SUCCESS

log = logging.getLogger("runner")


def main(timings: Timings = Timings()) -> int:  # noqa: B008 (frozen)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="runner: %(message)s")
    log.setLevel(logging.INFO)
    hide_environment()
    if sys.argv[1:] == [COMMAND]:
        return probe(os.environ)
    try:
        settings = Settings.from_environment(os.environ)
    except RunnerError as error:
        log.error("%s", error)
        return int(ContainerCode.FAILED)
    stop = StopSignal(timings.stop)
    stop.listen()
    return JobAttempt(settings, timings, Store.connect(), stop).run()


class JobAttempt:
    """One attempt of one job."""

    def __init__(self, settings: Settings, timings: Timings, store: Store, stop: StopSignal) -> None:
        self._settings = settings
        self._timings = timings
        self._store = store
        self._stop = stop
        self._report = Report(settings)
        self._memory = MemoryMeter()
        self._gpu = GpuMeter()
        self._facts = MachineFacts(os.environ.get(METADATA), self._gpu.names)
        self._host = HostCheck(
            os.environ,
            settings.workspace,
            gpu_seconds=timings.gpu_answer,
            stop=stop.asked,
            instance_type=self._instance_type,
        )
        self._notices = HostNotices(settings.host_dir, stop)
        self._budget: Budget | None = None
        self._earlier: frozenset[RemoteFile] = frozenset()

    def run(self) -> int:
        sign_of_life = SignOfLife(self._store, self._settings, self._sign_of_life)
        with self._reported_failures():
            clear(self._settings)
            self._host.begin()
            request = self._read_request()
            notices = Repeater(self._notices.look, lambda: self._timings.notice)
            with notices, sign_of_life.repeated(self._timings.sign_of_life):
                self._make_result(request)
        return self._conclude(sign_of_life)

    @contextmanager
    def _reported_failures(self) -> Iterator[None]:
        """Turn every failure into an error of job.json and an exit code."""
        try:
            yield
        except Interrupted:
            self._report.interrupted_early()
        except FailureError as error:
            log.error("%s", error)
            self._report.failed(error)
        except AWS_FAULTS as error:
            failure = aws_fault(error)
            log.error("%s", failure)
            self._report.failed(failure)
        except Exception as error:
            log.exception("an error in the runner")
            self._report.failed(RunnerError("internal_error", repr(error), "Report it with the log of this job"))

    def _read_request(self) -> ChildRequest:
        settings = self._settings
        request = read_child_request(settings, self._store)
        self._report.requested(request.job)
        if settings.attempt > 1 or request.job.resumes_job:
            left = [self._store.read(settings.output_bucket, settings.output_prefix + name) for name in (RUNNING, JOB)]
            self._report.after(*left, resumes_job=request.job.resumes_job)
            self._earlier = earlier_output(settings, self._store)
        return request

    def _make_result(self, request: ChildRequest) -> None:
        with self._reported_failures():
            self._require_host()
            with self._report.phase("download"):
                plan = self._plan(request)
            if not self._reuse(request, plan):
                with self._within_budget(request):
                    self._work(request, plan)
        if self._report.script_ran:
            with self._reported_failures():
                self._deliver()

    def _plan(self, request: ChildRequest) -> DownloadPlan:
        plan = plan_downloads(request, self._settings, self._store)
        key = own_key(request.job, plan.ingredients, plan.script_digest)
        self._report.planned([each.facts for each in plan.inputs], key)
        return plan

    def _reuse(self, request: ChildRequest, plan: DownloadPlan) -> bool:
        """Copy an earlier result of the same script, options and inputs, if there is one."""
        key = self._report.facts.content_key
        # If the dispatcher made the key it has looked already.
        if key is None or request.job.content_key or request.job.fresh:
            return False
        result = find(key, plan.ingredients, self._settings, self._store)
        if result is None:
            return False
        self._facts.start()
        files = copies(result, self._settings)
        try:
            with self._report.phase("upload"):
                self._store.copy(files, self._stop.asked)
        except (Interrupted, FailureError, *AWS_FAULTS) as error:
            discard([each.key for each in files], self._settings, self._store)
            if isinstance(error, Interrupted):
                raise
            log.warning("the earlier result in %s is not used: %s", result.prefix, reason(error))
            return False
        log.info("the script is not run: %s is a result of the same", result.prefix)
        self._report.reused(result.prefix)
        if request.job.max_cost_usd is not None:
            self._facts.wait(self._timings.price, unless=self._stop.asked)  # the next stage adds it up
        self._delivered(Delivered(frozenset(each.key for each in files), sum(each.source.size for each in files)))
        return True

    @contextmanager
    def _within_budget(self, request: ChildRequest) -> Iterator[None]:
        """End the work inside when max_cost_usd is reached, as an interruption would."""
        limit = request.job.max_cost_usd
        if limit is None:
            yield
            return
        self._budget = self._open_budget(request, limit)
        with Repeater(self._check_budget, lambda: self._timings.cost):
            try:
                self._check_budget()
                if self._budget.error:
                    raise self._budget.error
                yield
            except Interrupted:
                raise self._budget.error or Interrupted from None

    def _open_budget(self, request: ChildRequest, limit: float) -> Budget:
        self._facts.start()
        self._facts.wait(self._timings.price, unless=self._stop.asked)
        if self._stop.asked.is_set():
            raise Interrupted
        price = price_per_hour(self._facts)
        lost = self._report.facts.interruptions
        before = spent_before(request.job.run_key, lost, price, self._settings, self._store)
        return Budget(limit=limit, before=before, usd_per_hour=price, seconds=lambda: self._report.total_seconds)

    def _check_budget(self) -> None:
        if self._budget:
            self._budget.check(self._stop.ask)

    def _work(self, request: ChildRequest, plan: DownloadPlan) -> None:
        self._fetch(request, plan)
        self._host.wait_for_gpu()
        self._require_host()
        environment = script_environment(request.job, self._settings, os.environ)
        environment = with_thread_counts(environment, self._host.facts.vcpus, os.cpu_count() or 1)
        if plan.requirements:
            with self._report.phase("install"):
                packages = install(plan.requirements, self._settings.packages_dir, environment, self._stop)
            environment = with_packages(environment, packages)
        self._run_script(request, plan, environment)

    def _require_host(self) -> None:
        """Raise if the job cannot run on this host, as far as its GPUs have answered."""
        if error := self._host.error():
            self._tell_watcher(error)
            raise error

    def _judge_cuda_error(self, last_lines: Iterable[str]) -> None:
        """If a GPU that fails in mid-run ended the script, the host is at fault, as it is at the start."""
        facts = self._report.facts
        if facts.error is None or facts.ended not in (FAILED, INPUT_ERROR):
            return
        said = [facts.error.cause, *(last_lines if facts.ended == FAILED else ())]
        if verdict := self._host.error_of_script(said, facts.cuda_errors):
            self._report.cuda_error(verdict.fault_of_host)
            if verdict.fault_of_host:
                log.error("%s", verdict.fault_of_host)
                self._tell_watcher(verdict.fault_of_host)

    def _tell_watcher(self, error: FailureError) -> None:
        if error.failure.code == BAD_HOST_ERROR:
            mark_bad_host(self._settings.host_dir, self._settings.job_id, error.cause, self._timings.drain)

    def _instance_type(self) -> str | None:
        self._facts.start()
        self._facts.wait(self._timings.facts, unless=self._stop.asked)
        return self._facts.machine.instance_type

    def _fetch(self, request: ChildRequest, plan: DownloadPlan) -> None:
        with self._report.phase("download"):
            self._store.download(plan.downloads, self._stop.asked)
        self._report.script_fetched(plan.script)
        self._settings.parameters_file.write_text(json.dumps(request.job.parameters, indent=1))
        log.info("%d files, %.1f MB downloaded", len(plan.downloads), plan.size / 1e6)

    def _run_script(self, request: ChildRequest, plan: DownloadPlan, environment: dict[str, str]) -> None:
        if self._stop.asked.is_set():
            raise Interrupted
        mirror = self._mirror(request, plan)
        command = [sys.executable, str(plan.script), *request.job.args]
        log.info("starting %s", request.job.script_key)
        with self._report.phase("script"), ExitStack() as meanwhile:
            child = Child(command, cwd=plan.script.parent, environment=environment)
            self._facts.start()
            for repeater in self._repeaters(mirror):
                meanwhile.enter_context(repeater)
            exit_code = self._stop.run(child)
        oom_kill = self._memory.killed(exit_code)
        stopped = self._stop.asked.is_set() and not (self._budget and self._budget.error)
        self._report.script_ended(exit_code, stopped=stopped, oom_kill=oom_kill, last_lines=list(child.tail))
        if self._budget and self._budget.error:
            log.error("%s", self._budget.error)
            self._report.stopped_for(self._budget.error)
        self._judge_cuda_error(child.tail)
        log.info("the script ended with exit code %d (%s)", exit_code, self._report.ended)
        mirror.finish()

    def _mirror(self, request: ChildRequest, plan: DownloadPlan) -> CheckpointMirror:
        settings = self._settings
        bucket, prefix = settings.output_bucket, request.job.checkpoint_prefix
        mirror = CheckpointMirror(settings.checkpoint_dir, self._store, bucket, prefix, self._timings.patience)
        mirror.restored(plan.downloads)
        return mirror

    def _repeaters(self, mirror: CheckpointMirror) -> list[Repeater]:
        settings, timings = self._settings, self._timings
        key = f"{settings.output_prefix}{PROGRESS}"
        progress = ProgressUpload(settings.output_dir / PROGRESS, self._store, settings.output_bucket, key)
        return [
            Repeater(progress.update, lambda: timings.progress),
            Repeater(self._gpu.sample, lambda: timings.gpu),
            Repeater(mirror.update, lambda: self._checkpoint_interval(mirror)),
        ]

    def _checkpoint_interval(self, mirror: CheckpointMirror) -> float:
        soon = self._stop.asked.is_set() or self._notices.host_may_go or mirror.waits
        return self._timings.checkpoints_soon if soon else self._timings.checkpoints

    def _deliver(self) -> None:
        if self._report.ended in (INTERRUPTED, COST_LIMIT):
            self._write_report()  # the host may be gone before a large output is uploaded
        with self._report.phase("upload"):
            self._delivered(upload_output(self._settings, self._store))

    def _delivered(self, delivered: Delivered) -> None:
        self._report.delivered(delivered.facts)
        if self._report.ended == DONE and self._earlier:
            remove_stale(self._earlier, delivered, self._settings, self._store)

    def _conclude(self, sign_of_life: SignOfLife) -> int:
        """Write job.json, and `_SUCCESS` last of all."""
        self._facts.wait(self._timings.facts)
        with self._reported_failures():
            self._write_report()
            sign_of_life.remove()
            if self._report.ended == DONE:
                settings, facts = self._settings, self._report.facts
                self._store.write(settings.output_bucket, f"{settings.output_prefix}{SUCCESS}", b"")
                # A copy is not recorded: all copies come from the first of its kind.
                if facts.content_key and not facts.reused_from:
                    record(facts.content_key, settings, self._store)
        return int(self._report.container_code)

    def _write_report(self) -> None:
        settings = self._settings
        document = write_job(self._with_meters(self._report.document()))
        self._store.write(settings.output_bucket, f"{settings.output_prefix}{JOB}", document)

    def _sign_of_life(self) -> bytes:
        return write_job(self._with_meters(self._report.sign_of_life()))

    def _with_meters(self, report: JobReport) -> JobReport:
        price = self._facts.price
        return replace(
            report,
            machine=self._facts.known,
            cost=price.cost(self._report.total_seconds) if price else None,
            peak_memory_mib=self._memory.peak_mib(),
            gpu=self._gpu.use(),
            probe=replace(self._host.facts, image=self._facts.image_digest or self._host.facts.image),
        )


if __name__ == "__main__":
    sys.exit(main())
