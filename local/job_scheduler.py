"""AWS Batch's part: from SUBMITTED to SUCCEEDED or FAILED, through dependencies, arrays, retries and stops."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from local.batch_hosts import Host, choose_host
from local.batch_jobs import NOT_STARTED, Job, now_ms
from local.job_attempt import Attempt, AttemptStarter, Interruption, StartError
from local.job_dependencies import Readiness, prerequisites, readiness
from local.retry_rules import AttemptEnd, is_retried

TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than "
    "that can be met by the compute environment(s) attached to the job queue."
)
TIMED_OUT = Interruption("Job attempt duration exceeded timeout", final=True)
TICK = 0.5  # seconds; changes wake the scheduler at once, only time limits wait for a tick


class JobScheduler:
    """Owns all jobs. One thread moves them on, and each attempt has a thread of its own."""

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
        self.jobs: dict[str, Job] = {}
        self._attempts: dict[str, Attempt | None] = {}  # by job id; None while the attempt is being started
        self._thread = threading.Thread(target=self._run, name="batch-scheduler", daemon=True)
        self._thread.start()

    def submit(self, queue: Any, definition: Any, request: dict[str, Any]) -> Job:
        job = Job(queue=queue, definition=definition, request=request)
        size = (request.get("arrayProperties") or {}).get("size", 0)
        job.children = [
            Job(queue, definition, request, job_id=f"{job.job_id}:{index}", parent=job, index=index)
            for index in range(size)
        ]
        with self._changed:
            for each in (job, *job.children):
                self.jobs[each.job_id] = each
                self._on_change(each)
            self._changed.notify()
        return job

    def terminate(self, job: Job, reason: str) -> None:
        """SIGTERM to what runs, FAILED at once for what does not yet."""
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
        """Jobs that started are left alone."""
        with self._changed:
            for each in (job, *job.children):
                if each.status in NOT_STARTED and each.job_id not in self._attempts:
                    each.cancelled = True
                    if not each.children:
                        self._end(each, "FAILED", reason)
            self._changed.notify()

    def reclaim_spot(self, job: Job, *, notice: bool) -> str:
        """The spot market takes the job's host back. Returns the host's id."""
        with self._changed:
            attempt = self._attempts.get(job.job_id)
            if attempt is None:
                raise ValueError(f"job {job.name} is {job.status}; only a RUNNING job has a host to lose")
            reason = f"Host EC2 (instance {attempt.instance_id}) terminated."
            attempt.interrupt(Interruption(reason), at_once=not notice)
            return attempt.instance_id

    def close(self) -> None:
        """Ends all jobs, so that nothing outlives the embedded AWS."""
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
                    self._advance_all()
                except Exception:
                    # Told, and tried again at the next tick: one odd job must not stop all others.
                    self._log(f"batch scheduler: {traceback.format_exc()}")
                self._changed.wait(timeout=TICK)

    def _advance_all(self) -> None:
        waiting = [job for job in self.jobs.values() if not job.ended and job.job_id not in self._attempts]
        for job in waiting:
            if job.children:
                self._advance_parent(job)
            elif job.status == "SUBMITTED":
                self._move(job, "PENDING")
            if job.status == "PENDING" and not job.children:
                self._check_dependencies(job)
        runnable = [job for job in waiting if job.status == "RUNNABLE"]
        for job in sorted(runnable, key=lambda job: -int(job.request.get("schedulingPriorityOverride") or 0)):
            self._start_if_possible(job)

    def _advance_parent(self, parent: Job) -> None:
        if parent.status == "SUBMITTED":
            self._move(parent, "PENDING")
        if all(child.ended for child in parent.children):
            failed = any(child.status == "FAILED" for child in parent.children)
            reason = parent.status_reason or ("Array Child Job failed" if failed else "")
            self._end(parent, "FAILED" if failed else "SUCCEEDED", reason)

    def _check_dependencies(self, job: Job) -> None:
        parent_id = job.parent.job_id if job.parent else None
        state = readiness(prerequisites(job.depends_on, parent_id, job.index), self._status_of)
        if state is Readiness.FAILED:
            self._end(job, "FAILED", "Dependent Job failed")
        elif state is Readiness.READY:
            job.runnable_at = time.monotonic()
            self._move(job, "RUNNABLE")

    def _status_of(self, job_id: str) -> str | None:
        job = self.jobs.get(job_id)
        return job.status if job else None

    def _start_if_possible(self, job: Job) -> None:
        host = choose_host(job.queue, job.resources)
        if host is None:
            job.status_reason = TOO_LARGE
            self._cancel_when_stuck(job)
        elif job.queue.state == "ENABLED" and len(self._attempts) < self._concurrency:
            job.status_reason = ""
            self._attempts[job.job_id] = None
            threading.Thread(target=self._attempt, args=(job, host), name=f"batch-{job.job_id}", daemon=True).start()

    def _cancel_when_stuck(self, job: Job) -> None:
        """jobStateTimeLimitActions of the queue."""
        waited = (time.monotonic() - job.runnable_at) * self._hurry
        for action in getattr(job.queue, "job_state_time_limit_actions", None) or []:
            if job.status_reason.startswith(action["reason"]) and waited > action["maxTimeSeconds"]:
                job.cancelled = True
                self._end(job, "FAILED", job.status_reason)
                return

    def _attempt(self, job: Job, host: Host) -> None:
        number = len(job.attempts) + 1
        with self._changed:
            job.started_at = None
            self._move(job, "STARTING")
        try:
            attempt = self._starter.start(job, host, number)
        except StartError as error:
            self._not_started(job, str(error), error.status_reason)
            return
        except Exception as error:
            # A fault of ours, not of the job: it must not stay STARTING for ever, and must not go unseen.
            self._log(f"job {job.name} could not be started: {traceback.format_exc()}")
            self._not_started(job, f"InternalError: {error}", "Task failed to start")
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
                job.runnable_at = time.monotonic()
                self._move(job, "RUNNABLE")
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
        self._changed.notify()
