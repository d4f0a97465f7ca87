"""Finds a deployed platform: its name and one call tell everything else."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from splatworks.cli.problems import DENIED, Problem, error_code, explained
from splatworks.planning.bad_input import nearest
from splatworks.planning.settings import DispatcherSettings

PROJECT_VARIABLES = ("SPLATWORKS_PROJECT", "PROJECT_NAME")
DEFAULT_PROJECT = "splatworks"
PROJECT_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{1,22}[a-z0-9]")  # as variables.tf checks it
DISPATCHER = "-ml-trigger-dispatcher"
CONNECTIONS = 32


@dataclass(frozen=True)
class Platform:
    project: str
    region: str
    settings: DispatcherSettings
    environment: dict[str, str]  # the dispatcher's
    session: Any
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Not for threads to make: ask for a client first, then share it."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=client_config(service))
            # Threads that load these classes at once get different ones, and `except s3.exceptions.NoSuchKey` misses.
            _ = self._clients[service].exceptions
        return self._clients[service]

    @property
    def job_log_group(self) -> str:
        return f"/aws/batch/{self.project}-ml-jobs"

    @property
    def queues(self) -> list[str]:
        computes = self.settings.compute.values()
        found = [queue for compute in computes for queue in (compute.queue, compute.on_demand_queue) if queue]
        return list(dict.fromkeys(found))  # a platform without spot machines has one queue for both


def find_platform(project: str) -> Platform:
    """Raises a Problem that says what was tried where nothing is found."""
    if not PROJECT_NAME.fullmatch(project):
        raise Problem(
            f"{project!r} is no project name: 3 to 24 lower-case letters, digits and single hyphens, "
            "beginning with a letter.",
            "Give the project_name of Terraform with --project or in SPLATWORKS_PROJECT.",
        )
    try:
        session = boto3.session.Session()
        client = session.client("lambda", config=client_config("lambda"))
        answer = client.get_function_configuration(FunctionName=f"{project}{DISPATCHER}")
    except ClientError as error:
        raise _not_found(error, project, client) from None
    except BotoCoreError as error:
        raise explained(error) from None
    environment = answer.get("Environment", {}).get("Variables", {})
    return Platform(project, client.meta.region_name, _settings(environment, project), environment, session)


def client_config(service: str) -> Config:
    return Config(
        # In us-east-1 boto3 signs URLs by version 2 unless told otherwise, which S3 no longer takes for new buckets.
        signature_version="s3v4" if service == "s3" else None,
        s3={"us_east_1_regional_endpoint": "regional"},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 5},
    )


def _settings(environment: dict[str, str], project: str) -> DispatcherSettings:
    try:
        return DispatcherSettings.from_environment(environment)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Problem(
            f"The dispatcher of {project} has settings that this splatworks cannot read ({error!r}).",
            "Platform and command line are of different versions: `terraform apply` from this version, or install the "
            "platform's.",
        ) from None


def _not_found(error: ClientError, project: str, client: Any) -> Problem:
    code = error_code(error)
    if code in DENIED:
        return Problem(
            f"You may not see the platform {project}: {error.response['Error'].get('Message', code)}.",
            f"Ask for lambda:GetFunctionConfiguration on {project}{DISPATCHER}.",
        )
    if code != "ResourceNotFoundException":
        return explained(error)
    region = client.meta.region_name
    where = f"region {region}" + (f" at {os.environ['AWS_ENDPOINT_URL']}" if os.environ.get("AWS_ENDPOINT_URL") else "")
    others = _platforms(client)
    told = nearest(project, others) if others else "There is none in this region: set AWS_REGION, or AWS_PROFILE."
    return Problem(
        f"There is no platform {project!r} in {where}: the function {project}{DISPATCHER} does not exist.",
        f"{told} Name it with --project or SPLATWORKS_PROJECT.",
    )


def _platforms(client: Any) -> list[str]:
    """The platforms of the region, where one may list functions."""
    try:
        pages: Iterable[dict[str, Any]] = client.get_paginator("list_functions").paginate()
        names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    except (BotoCoreError, ClientError):
        return []
    return [name.removesuffix(DISPATCHER) for name in names if name.endswith(DISPATCHER)]
