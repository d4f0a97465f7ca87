"""Move jobs from SUBMITTED to SUCCEEDED or FAILED, through dependencies, arrays, retries and stops."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from local.batch.attempt import Attempt, AttemptStarter, StartError
from local.batch.dependencies import Dependencies, Readiness
from local.batch.fleet import Host
from local.batch.hosts import HostOffer, choose_host
from local.batch.jobs import NOT_STARTED, Job, job_from, now_ms
from local.batch.reclaim import Interruption
from local.batch.registry import JobRegistry
from local.batch.retry_rules import START_FAILED, AttemptEnd, is_retried
from local.batch.runnable import RunnableJobs
from local.batch.stuck import StuckJobs

TIMED_OUT = Interruption("Job attempt duration exceeded timeout", final=True)
TICK = 0.5  # seconds; changes wake the scheduler at once, only time limits wait for a tick


class JobScheduler:
    """Owns all jobs. One thread moves them on, and each attempt has its own thread."""

    def __init__(
        self,
        starter: AttemptStarter,
        on_change: Callable[[Job], None],
        *,
        concurrency: int,
        hurry: float = 1.0,
        log: Callable[[str], None] = print,
    ) -> None:
        self._starter = starter
        self._on_change = on_change
        self._concurrency = concurrency
        self._hurry = hurry
        self._log = log
        self._changed = threading.Condition()
        self._closing = False
        self._watchers: list[Callable[[str], None]] = []
        self.registry = JobRegistry()
        self._attempts: dict[str, Attempt | None] = {}  # by job id; None while the attempt is being started
        self._submitted: deque[Job] = deque()
        self._ended: deque[Job] = deque()  # before the jobs that wait for them are released
        self._dependencies = Dependencies(self.registry.status_of)
        self._runnable = RunnableJobs()
        self._stuck = StuckJobs(hurry)
        self._thread = threading.Thread(target=self._run, name="batch-scheduler", daemon=True)
        self._thread.start()

    def submit(self, queue: Any, definition: Any, request: dict[str, Any]) -> Job:
        for watch in list(self._watchers):
            watch(request["jobName"])
        job = job_from(queue, definition, request)
        with self._changed:
            self.registry.add(job)
            for each in (job, *job.children):
                self._on_change(each)
                self._submitted.append(each)
            self._changed.notify()
        return job

    @contextmanager
    def watched_by(self, watch: Callable[[str], None]) -> Iterator[None]:
        self._watchers.append(watch)
        try:
            yield
        finally:
            self._watchers.remove(watch)

    @property
    def concurrency(self) -> int:
        """How many jobs run at the same time; with 0 all wait."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, jobs: int) -> None:
        with self._changed:
            self._concurrency = jobs
            self._changed.notify()

    def terminate(self, job: Job, reason: str) -> None:
        """Send SIGTERM to attempts that run; a job that has not started is FAILED at once."""
        with self._changed:
            for each in (job, *job.children):
                self._terminate_one(each, reason)
            self._changed.notify()

    def _terminate_one(self, job: Job, reason: str) -> None:
        if job.ended:
            return
        job.terminated = True
        if job.job_id in self._attempts:
            self._interrupt(job, Interruption(reason, final=True))
        elif not job.children:
            self._end(job, "FAILED", reason)
        else:
            job.status_reason = reason

    def cancel(self, job: Job, reason: str) -> None:
        """End a job that has not started; leave all others alone."""
        with self._changed:
            for each in (job, *job.children):
                if each.status in NOT_STARTED and each.job_id not in self._attempts:
                    each.cancelled = True
                    if not each.children:
                        self._end(each, "FAILED", reason)
            self._changed.notify()

    def host_of(self, job: Job) -> Host:
        with self._changed:
            attempt = self._attempts.get(job.job_id)
            if attempt is None:
                raise ValueError(f"job {job.name} is {job.status}; only a RUNNING job has a host to lose")
            return attempt.host

    def interrupt_on(self, host: Host, interruption: Interruption, *, grace: float) -> None:
        """Stop all attempts on a host."""
        with self._changed:
            for attempt in self._attempts.values():
                if attempt and attempt.host is host:
                    attempt.interrupt(interruption, grace=grace)

    def close(self) -> None:
        """End all jobs, so that no process outlives the embedded AWS."""
        with self._changed:
            self._closing = True
            running = [attempt for attempt in self._attempts.values() if attempt]
            for attempt in running:
                attempt.interrupt(Interruption("The embedded AWS was stopped", final=True))
            self._changed.notify()
        self._thread.join(timeout=5)
        deadline = time.monotonic() + 15
        for attempt in running:
            attempt.finished.wait(timeout=max(0.1, deadline - time.monotonic()))
            attempt.kill()
            attempt.finished.wait(timeout=5)

    def _run(self) -> None:
        with self._changed:
            while not self._closing:
                try:
                    self._advance()
                except Exception:
                    # Log it and continue at the next tick: one odd job must not stop all others.
                    self._log(f"batch scheduler: {traceback.format_exc()}")
                self._changed.wait(timeout=TICK)

    def _advance(self) -> None:
        """Handle the jobs that changed, never all jobs: ten thousand waiting children must cost nothing."""
        while self._submitted or self._ended:
            if self._submitted:
                self._enter(self._submitted.popleft())
            else:
                self._settle(self._ended.popleft())
        self._review_stuck()
        while len(self._attempts) < self._concurrency and (job := self._runnable.take()):
            self._start(job)

    def _enter(self, job: Job) -> None:
        if job.ended:
            return
        self._move(job, "PENDING")
        if not job.children:
            self._continue(job, self._dependencies.enter(job))

    def _settle(self, ended: Job) -> None:
        for job, state in self._dependencies.released_by(ended):
            self._continue(job, state)
        parent = ended.parent
        if parent is not None:
            parent.open_children -= 1
            if not parent.open_children:
                self._end_parent(parent)

    def _continue(self, job: Job, state: Readiness) -> None:
        if state is Readiness.FAILED:
            self._end(job, "FAILED", "Dependent Job failed")
        elif state is Readiness.READY:
            self._make_runnable(job)

    def _make_runnable(self, job: Job) -> None:
        job.runnable_at = time.monotonic()
        self._move(job, "RUNNABLE")
        if choose_host(job.queue, job.resources):
            self._runnable.add(job)
        else:
            self._stuck.add(job)

    def _end_parent(self, parent: Job) -> None:
        failed = any(child.status == "FAILED" for child in parent.children)
        reason = parent.status_reason or ("Array Child Job failed" if failed else "")
        self._end(parent, "FAILED" if failed else "SUCCEEDED", reason)

    def _start(self, job: Job) -> None:
        offer = choose_host(job.queue, job.resources)
        if offer is None:  # its environments have changed since
            self._stuck.add(job)
            return
        job.status_reason = ""
        self._attempts[job.job_id] = None
        threading.Thread(target=self._attempt, args=(job, offer), name=f"batch-{job.job_id}", daemon=True).start()

    def _review_stuck(self) -> None:
        for job in self._stuck.take_fitting():
            job.status_reason = ""
            self._runnable.add(job)
        for job, reason in self._stuck.overdue():
            job.cancelled = True
            self._end(job, "FAILED", reason)

    def _attempt(self, job: Job, offer: HostOffer) -> None:
        number = len(job.attempts) + 1
        with self._changed:
            job.started_at = None
            self._move(job, "STARTING")
        try:
            attempt = self._starter.start(job, offer, number)
        except StartError as error:
            self._not_started(job, str(error), error.status_reason)
            return
        except Exception as error:
            # An error of this code, not of the job: end the attempt, so that it does not stay STARTING, and log it.
            self._log(f"job {job.name} could not be started: {traceback.format_exc()}")
            self._not_started(job, f"InternalError: {error}", START_FAILED)
            return
        with self._changed:
            self._attempts[job.job_id] = attempt
            job.started_at = now_ms()
            job.container = attempt.container()
            self._move(job, "RUNNING")
            if job.terminated:
                attempt.interrupt(Interruption(job.status_reason, final=True))
            if self._closing:
                attempt.kill()
        timer = self._timeout(job, attempt)
        end = attempt.run()
        timer.cancel()
        self._finish(job, end, attempt.record(end))
        attempt.finished.set()

    def _not_started(self, job: Job, reason: str, status_reason: str) -> None:
        end = AttemptEnd(exit_code=None, reason=reason, status_reason=status_reason)
        self._finish(job, end, {"container": {"reason": reason, "networkInterfaces": []}})

    def _timeout(self, job: Job, attempt: Attempt) -> threading.Timer:
        seconds = job.attempt_seconds
        timer = threading.Timer((seconds or 0) / self._hurry, attempt.interrupt, args=(TIMED_OUT,))
        timer.daemon = True
        if seconds:
            timer.start()
        return timer

    def _interrupt(self, job: Job, interruption: Interruption) -> None:
        attempt = self._attempts[job.job_id]
        if attempt is None:
            job.status_reason = interruption.status_reason  # still starting: stopped as soon as it runs
        else:
            attempt.interrupt(interruption)

    def _finish(self, job: Job, end: AttemptEnd, record: dict[str, Any]) -> None:
        with self._changed:
            del self._attempts[job.job_id]
            record = {"startedAt": job.started_at, "stoppedAt": now_ms(), "statusReason": end.status_reason, **record}
            job.attempts.append({name: value for name, value in record.items() if value is not None})
            job.container.update(record["container"])
            if not self._closing and not job.terminated and is_retried(job.retry_strategy, len(job.attempts), end):
                job.status_reason = end.status_reason
                self._make_runnable(job)
            else:
                self._end(job, "SUCCEEDED" if end.succeeded else "FAILED", end.status_reason)
            self._changed.notify()

    def _move(self, job: Job, status: str) -> None:
        job.status = status
        self._on_change(job)

    def _end(self, job: Job, status: str, reason: str) -> None:
        job.status_reason = reason
        job.stopped_at = now_ms()
        self._move(job, status)
        self._ended.append(job)
        self._changed.notify()
