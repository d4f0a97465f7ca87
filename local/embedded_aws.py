"""Run the platform on one machine: an AWS endpoint with the project's Terraform applied to it."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Any

import boto3

from local.batch.faults import Faults
from local.batch.fleet import Host
from local.batch.jobs import ENDED
from local.batch.reclaim import Reclaim
from local.delivery.outbox import Outbox, SentEmail
from local.moto import fixes, threads
from local.moto.hooks import Hooks
from local.services import Services
from local.terraform.project import TerraformProject
from local.terraform.shell_environment import write_shell_environment
from splatworks.sandbox.moto_server import MotoServer, forget_everything

__all__ = ["EmbeddedAWS", "FolderInUseError", "SentEmail"]

ROOT = Path(__file__).parents[1]
REGION = "us-east-1"
DEFAULT_EMAIL = "you@example.com"
ONE_PER_PROCESS = threading.Lock()


class FolderInUseError(Exception):
    pass


class EmbeddedAWS:
    """Use as a context manager, one per process at a time: moto's state is global."""

    def __init__(
        self,
        folder: Path,
        *,
        project_name: str = "splatworks-local",
        concurrency: int = 2,
        log: Callable[[str], None] = print,
        port: int = 0,
        runner: Path = ROOT / "docker" / "runner.py",
        enforce_iam: bool = True,  # functions and jobs may do what their roles allow, and no more
        hurry: float = 1.0,  # divides Batch's own waiting times (attempt timeouts, limits of stuck jobs), for tests
    ) -> None:
        self.folder = folder.resolve()
        self.project_name = project_name
        self.outbox = self.folder / "outbox"
        self.outputs: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.endpoint_url = ""
        self._log = log
        self._port = port
        self._concurrency = concurrency
        self._hurry = hurry
        self._runner = runner
        self._enforce_iam = enforce_iam
        self._stack = ExitStack()
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> EmbeddedAWS:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        if not ONE_PER_PROCESS.acquire(blocking=False):
            raise RuntimeError("an embedded AWS runs in this process already: leave its `with` block first")
        self._stack.callback(ONE_PER_PROCESS.release)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock()
        forget_everything()
        self._stack.callback(forget_everything)
        hooks = Hooks()
        self._stack.callback(hooks.restore)
        fixes.install(hooks)
        threads.install(hooks)
        server = MotoServer(self._port)
        self.endpoint_url = server.start()
        self._stack.callback(server.stop)
        self.environment = self._environment()
        self._outbox = Outbox(self.outbox)
        self._services = self._add_services(hooks)
        self._terraform = TerraformProject(ROOT, self.folder / "terraform", self.environment, self._log)
        self._terraform.forget_state()
        write_shell_environment(self.folder / "env", self.environment, self._terraform)

    def _add_services(self, hooks: Hooks) -> Services:
        services = Services(
            folder=self.folder,
            runner=self._runner,
            region=REGION,
            environment=self.environment,
            outbox=self._outbox,
            concurrency=self._concurrency,
            hurry=self._hurry,
            enforce_iam=self._enforce_iam,
            log=self._log,
        )
        self._stack.callback(services.close)
        services.install(hooks)
        return services

    def _lock(self) -> None:
        lock = self._stack.enter_context((self.folder / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUseError(
                f"{self.folder} is used by another embedded AWS. Stop that one, or give another folder with --folder."
            ) from error

    def _environment(self) -> dict[str, str]:
        nothing = self.folder / "no-aws-settings"  # so that no setting of the user's own account is ever read
        nothing.write_text("")
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": str(nothing),
            "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "PROJECT_NAME": self.project_name,
        }

    def program_environment(self) -> dict[str, str]:
        """Return the environment for a local program such as `aws`, without the user's own AWS settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, **self.environment}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,
                endpoint_url=self.endpoint_url,
                region_name=REGION,
                aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
                verify=False,
            )
        return self._clients[service]

    def apply(self, variables: dict[str, Any] | None = None) -> dict[str, str]:
        """Apply the project's root module and return its outputs."""
        defaults = {
            "project_name": self.project_name,
            "aws_region": REGION,
            "notification_emails": [DEFAULT_EMAIL],
            "force_destroy": True,
        }
        self._terraform.prepare({**defaults, **(variables or {})})
        self.outputs = self._terraform.apply()
        return self.outputs

    def terraform(self, *arguments: str) -> CompletedProcess[str]:
        return self._terraform.run(*arguments)

    def destroy(self) -> None:
        self._terraform.destroy()

    def publish(self, message: dict[str, Any] | str, copies: int = 1, **options: Any) -> str:
        """Publish to SNS and return the message id. `copies` delivers the same message more than once."""
        topic = options.pop("TopicArn", None) or self.outputs["trigger_events_topic_arn"]
        text = message if isinstance(message, str) else json.dumps(message)
        message_id: str = self.client("sns").publish(TopicArn=topic, Message=text, **options)["MessageId"]
        for _ in range(copies - 1):
            self._services.sns.redeliver(topic, message_id)
        return message_id

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs of all queues, newest first, without the children of arrays."""
        return self._services.describe_jobs()

    def job(self, job_id: str) -> dict[str, Any]:
        found = self.client("batch").describe_jobs(jobs=[job_id])["jobs"]
        if not found:
            raise KeyError(f"no job {job_id}")
        detail: dict[str, Any] = found[0]
        return detail

    def wait_for_job(self, name_or_id: str, until: tuple[str, ...] = ENDED, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until the newest job with this id, or with this text in its name, is in one of the states `until`."""

        def found() -> dict[str, Any] | None:
            job = self._find_job(name_or_id)
            if job and job["status"] in ENDED and job["status"] not in until:
                reason = job.get("statusReason", "")
                raise AssertionError(f"job {job['jobName']} is {job['status']} ({reason}), never {' or '.join(until)}")
            return job if job and job["status"] in until else None

        job: dict[str, Any] = self.wait_until(found, timeout, what=f"job {name_or_id} to be {' or '.join(until)}")
        return job

    def _find_job(self, name_or_id: str) -> dict[str, Any] | None:
        exact = self.client("batch").describe_jobs(jobs=[name_or_id])["jobs"]
        matching = exact or [job for job in self.jobs() if name_or_id in job["jobName"]]
        return matching[0] if matching else None

    def wait_until(self, condition: Callable[[], Any], timeout: float = 60.0, what: str = "the condition") -> Any:
        """Return the first true value of `condition()`."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout:.0f} s for {what}. {self._situation()}")
            time.sleep(0.1)
        return value

    def _situation(self) -> str:
        jobs = [f"{job['jobName']}: {job['status']}" for job in self.jobs()[:5]]
        return f"Jobs: {', '.join(jobs) or 'none'}. E-mails: {[email.subject for email in self.emails()[-5:]]}"

    def denials(self) -> list[str]:
        """Return the calls of functions and jobs that IAM denied, in AWS's words."""
        return self._services.denials

    def emails(self) -> list[SentEmail]:
        return self._outbox.emails

    def wait_for_email(self, subject_contains: str, timeout: float = 60.0) -> SentEmail:
        def found() -> SentEmail | None:
            matching = [email for email in self.emails() if subject_contains.lower() in email.subject.lower()]
            return matching[-1] if matching else None

        email: SentEmail = self.wait_until(found, timeout, what=f"an e-mail with {subject_contains!r} in its subject")
        return email

    @contextmanager
    def jobs_held(self) -> Iterator[None]:
        """Start no job meanwhile: jobs stay RUNNABLE, as if AWS had no capacity."""
        scheduler = self._services.scheduler
        before, scheduler.concurrency = scheduler.concurrency, 0
        try:
            yield
        finally:
            scheduler.concurrency = before

    def on_submission(self, watch: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `watch` with the name of each job right before Batch accepts it; an exception becomes a 500."""
        return self._services.scheduler.watched_by(watch)

    def kill_function(self, name: str) -> int:
        """End the processes that are handling an event at this moment. Return their number."""
        return self._services.functions.kill(name)

    def reclaim_spot(self, job_id: str, how: Reclaim = Reclaim.NOTICE) -> str:
        """Take away the host of a running job, as the spot market does. Return the instance's id."""
        return self._services.reclaim_spot(job_id, how)

    def recommend_rebalance(self, job_id: str) -> None:
        """Tell the host of a running job that it is likely to be reclaimed."""
        self._services.recommend_rebalance(job_id)

    @property
    def faults(self) -> Faults:
        """Inject faults into the next attempts: `aws.faults.next(Fault.DOCKER_TIMEOUT)`."""
        return self._services.faults

    def break_gpus(self, hosts: int = 1) -> None:
        """Launch the next hosts of GPU jobs with a GPU that does not work."""
        self._services.fleet.broken_gpus = hosts

    def host(self, instance_id: str) -> Host:
        return self._services.fleet.by_id[instance_id]
