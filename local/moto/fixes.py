"""Fix errors in moto 5.2.5 that this project's Terraform meets: one function per fix, with the reason.

Without them an apply fails, a second plan is not empty, or destroy gets stuck, although AWS would be content.
"""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any, cast

from moto.awslambda.models import LambdaFunction
from moto.batch.models import BatchBackend, ComputeEnvironment, JobDefinition
from moto.batch.responses import BatchResponse
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.efs.responses import EFSResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.iam.exceptions import NotFoundException
from moto.s3.models import FakeDeleteMarker
from moto.s3.responses import S3Response

from local.moto.hooks import Hooks

BATCH_SERVICE = "batch.amazonaws.com"
BATCH_ROLE = "AWSServiceRoleForBatch"
ROLE_LOCK = threading.Lock()  # Terraform creates the environments at the same time


def install(hooks: Hooks) -> None:
    for fix in (
        know_managed_policies,
        use_the_full_services,
        count_the_endpoint_as_tls,
        dispose_of_delete_markers,
        delete_file_system_policies,
        keep_dead_letter_and_logging_of_functions,
        create_environments_without_service_role,
        name_clusters_after_their_environments,
        keep_update_policy_of_environments,
        keep_time_limits_of_queues,
        keep_scheduling_priority_of_definitions,
        keep_template_tags_out_of_its_data,
        keep_description_of_security_group_rules,
        show_event_bridge_of_buckets,
    ):
        fix(hooks)


def know_managed_policies(hooks: Hooks) -> None:
    """moto loads the policies that AWS manages only on request, for speed."""
    hooks.on_restore(default_user_config["iam"].update, {"load_aws_managed_policies": False})
    default_user_config["iam"]["load_aws_managed_policies"] = True


def use_the_full_services(hooks: Hooks) -> None:
    """moto answers for Lambda and Batch from other backends once a server in this process was set to use no Docker."""
    for service in ("batch", "lambda"):
        hooks.on_restore(default_user_config[service].update, dict(default_user_config[service]))
        default_user_config[service]["use_docker"] = True


def count_the_endpoint_as_tls(hooks: Hooks) -> None:
    """Conditions are not evaluated: a policy that denies calls without TLS denies all. Nothing leaves this machine."""

    def without_tls_denials(original: Any, statement: IAMPolicyStatement, *args: Any, **kwargs: Any) -> Any:
        rule = statement._statement
        transport = (rule.get("Condition") or {}).get("Bool", {}).get("aws:SecureTransport")
        if rule.get("Effect") == "Deny" and transport == "false":
            return PermissionResult.NEUTRAL
        return original(statement, *args, **kwargs)

    hooks.wrap(IAMPolicyStatement, "is_action_permitted", without_tls_denials)


def dispose_of_delete_markers(hooks: Hooks) -> None:
    """Deleting a versioned bucket disposes of every version; a delete marker has nothing to dispose of."""
    hooks.replace(FakeDeleteMarker, "dispose", lambda _marker: None)


def delete_file_system_policies(hooks: Hooks) -> None:
    """moto has no DeleteFileSystemPolicy."""

    def delete(response: EFSResponse) -> tuple[str, dict[str, str]]:
        file_system = response.efs_backend.file_systems_by_id[response._get_param("FileSystemId")]
        file_system.file_system_policy = None
        return "", {"Content-Type": "application/json"}

    hooks.replace(EFSResponse, "delete_file_system_policy", delete)


def keep_dead_letter_and_logging_of_functions(hooks: Hooks) -> None:
    """moto drops DeadLetterConfig and LoggingConfig."""
    names = {"DeadLetterConfig": "dead_letter_config", "LoggingConfig": "logging_config"}

    def remember(function: LambdaFunction, settings: dict[str, Any]) -> None:
        for given, kept in names.items():
            if given in settings:
                setattr(function, kept, settings[given])

    def create(original: Any, function: LambdaFunction, *args: Any, spec: dict[str, Any], **kwargs: Any) -> None:
        original(function, *args, spec=spec, **kwargs)
        remember(function, spec)

    def update(original: Any, function: LambdaFunction, settings: dict[str, Any]) -> dict[str, Any]:
        original(function, settings)
        remember(function, settings)
        return function.get_configuration()

    def show(original: Any, function: LambdaFunction, *args: Any, **kwargs: Any) -> dict[str, Any]:
        shown: dict[str, Any] = original(function, *args, **kwargs)
        group = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.function_name}"}
        shown["LoggingConfig"] = {**group, **(getattr(function, "logging_config", None) or {})}
        if (getattr(function, "dead_letter_config", None) or {}).get("TargetArn"):
            shown["DeadLetterConfig"] = function.dead_letter_config  # type: ignore[attr-defined]
        return shown

    hooks.wrap(LambdaFunction, "__init__", create)
    hooks.wrap(LambdaFunction, "update_configuration", update)
    hooks.wrap(LambdaFunction, "get_configuration", show)


def create_environments_without_service_role(hooks: Hooks) -> None:
    """AWS falls back to its service-linked role; moto refuses the environment."""

    def create(original: Any, backend: BatchBackend, **settings: Any) -> ComputeEnvironment:
        if not settings.get("service_role"):
            settings["service_role"] = service_linked_role(backend)
        environment: ComputeEnvironment = original(backend, **settings)
        return environment

    hooks.wrap(BatchBackend, "create_compute_environment", create)


def name_clusters_after_their_environments(hooks: Hooks) -> None:
    """Name clusters as AWS does, because our policies match on the name; moto calls them all OnDemand_Batch."""

    def create(original: Any, backend: BatchBackend, **settings: Any) -> ComputeEnvironment:
        environment: ComputeEnvironment = original(backend, **settings)
        cluster = backend.ecs_backend.create_cluster(f"AWSBatch-{environment.name}-{uuid.uuid4()}")
        del backend.ecs_backend.clusters[environment.ecs_name]
        environment.set_ecs(cluster.arn, cluster.name)
        return environment

    hooks.wrap(BatchBackend, "create_compute_environment", create)


def service_linked_role(backend: BatchBackend) -> str:
    iam = backend.iam_backend
    with ROLE_LOCK:
        try:
            role = iam.get_role(BATCH_ROLE)
        except NotFoundException:
            statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": BATCH_SERVICE}}
            trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            path = f"/aws-service-role/{BATCH_SERVICE}/"
            role = iam.create_role(BATCH_ROLE, trust, path, None, "", [], "3600", linked_service=BATCH_SERVICE)
    return str(role.arn)


def keep_update_policy_of_environments(hooks: Hooks) -> None:
    """moto has no updatePolicy, and ignores changes of the resources."""

    def remember(response: BatchResponse, identifier: str, settings: dict[str, Any]) -> None:
        environment: Any = response.batch_backend.get_compute_environment(identifier)
        if "updatePolicy" in settings:
            environment.update_policy = settings["updatePolicy"]
        environment.compute_resources.update(settings.get("computeResources") or {})

    def create(original: Any, response: BatchResponse) -> str:
        answer: str = original(response)
        remember(response, response._get_param("computeEnvironmentName"), parameters(response))
        return answer

    def update(original: Any, response: BatchResponse) -> str:
        answer: str = original(response)
        remember(response, response._get_param("computeEnvironment"), parameters(response))
        return answer

    def show(original: Any, backend: BatchBackend, environments: list[str] | None = None) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = original(backend, environments)
        for item in shown:
            policy = getattr(backend.get_compute_environment(item["computeEnvironmentArn"]), "update_policy", None)
            if policy:
                item["updatePolicy"] = policy
        return shown

    hooks.wrap(BatchResponse, "createcomputeenvironment", create)
    hooks.wrap(BatchResponse, "updatecomputeenvironment", update)
    hooks.wrap(BatchBackend, "describe_compute_environments", show)


def keep_time_limits_of_queues(hooks: Hooks) -> None:
    """moto drops jobStateTimeLimitActions, which end a job that cannot start."""

    def remember(original: Any, response: BatchResponse) -> str:
        answer: str = original(response)
        given = parameters(response)
        queue: Any = response.batch_backend.get_job_queue(given.get("jobQueueName") or given["jobQueue"])
        if "jobStateTimeLimitActions" in given:
            queue.job_state_time_limit_actions = given["jobStateTimeLimitActions"]
        return answer

    def show(original: Any, backend: BatchBackend, job_queues: list[str] | None = None) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = original(backend, job_queues)
        for item in shown:
            queue = backend.get_job_queue(item["jobQueueArn"])
            item["jobStateTimeLimitActions"] = getattr(queue, "job_state_time_limit_actions", [])
        return shown

    hooks.wrap(BatchResponse, "createjobqueue", remember)
    hooks.wrap(BatchResponse, "updatejobqueue", remember)
    hooks.wrap(BatchBackend, "describe_job_queues", show)


def keep_scheduling_priority_of_definitions(hooks: Hooks) -> None:
    """moto drops schedulingPriority."""

    def remember(original: Any, response: BatchResponse) -> str:
        answer: str = original(response)
        definition: Any = response.batch_backend.get_job_definition_by_arn(json.loads(answer)["jobDefinitionArn"])
        definition.scheduling_priority = response._get_param("schedulingPriority")
        return answer

    def show(original: Any, definition: JobDefinition) -> dict[str, Any]:
        shown: dict[str, Any] = original(definition)
        priority = getattr(definition, "scheduling_priority", None)
        return shown if priority is None else {**shown, "schedulingPriority": priority}

    hooks.wrap(BatchResponse, "registerjobdefinition", remember)
    hooks.wrap(JobDefinition, "describe", show)


def parameters(response: BatchResponse) -> dict[str, Any]:
    names = ("computeResources", "updatePolicy", "jobQueueName", "jobQueue", "jobStateTimeLimitActions")
    return {name: value for name in names if (value := response._get_param(name)) is not None}


def keep_template_tags_out_of_its_data(hooks: Hooks) -> None:
    """moto returns a launch template's tags as if they were for its instances."""

    def create(
        original: Any, backend: EC2Backend, name: str, description: str, data: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        kept = [item for item in data.get("TagSpecifications", []) if item["ResourceType"] != "launch-template"]
        data = {key: value for key, value in data.items() if key != "TagSpecifications"}
        return original(
            backend, name, description, {**data, **({"TagSpecifications": kept} if kept else {})}, *args, **kwargs
        )

    hooks.wrap(EC2Backend, "create_launch_template", create)


def keep_description_of_security_group_rules(hooks: Hooks) -> None:
    """moto finds the description of a rule for addresses, but not of a rule for another group or a prefix list."""

    def create(original: Any, rule: SecurityGroupRule, *args: Any, **kwargs: Any) -> None:
        original(rule, *args, **kwargs)
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, dict) and "Description" in value]
        rule.given_description = given[0]["Description"] if given else None  # type: ignore[attr-defined]

    def description(rule: SecurityGroupRule) -> str | None:
        return rule.ip_range.get("Description") or rule.given_description  # type: ignore[attr-defined]

    hooks.wrap(SecurityGroupRule, "__init__", create)
    hooks.replace(SecurityGroupRule, "description", property(description))


def show_event_bridge_of_buckets(hooks: Hooks) -> None:
    """moto stores a bucket's EventBridge setting but does not return it."""

    def show(original: Any, response: S3Response) -> Any:
        kept = response.backend.get_bucket_notification_configuration(response.bucket_name)
        if kept is None or kept.event_bridge is None:
            return original(response)
        serialized = response.serialized

        def with_event_bridge(shown: ActionResult) -> Any:
            return serialized(ActionResult({**cast(dict[str, Any], shown.result), "EventBridgeConfiguration": {}}))

        cast(Any, response).serialized = with_event_bridge
        return original(response)

    hooks.wrap(S3Response, "get_bucket_notification", show)
