"""Names that users have in their terraform.tfvars, scripts and folders stay; new ones may come.

A name leaves these lists only with a major version, and with a note in CHANGELOG.md about what to change.
"""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VARIABLE = re.compile(r'^variable "(\w+)" {.*?^  type += (\S[^\n]*)$', re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r'^output "(\w+)"', re.MULTILINE)

VARIABLES = {
    "project_name": "string",
    "aws_region": "string",
    "notification_emails": "list(string)",
    "ml_gpu_job_vcpus": "number",
    "ml_gpu_job_memory": "number",
    "ml_gpu_job_gpus": "number",
    "ml_gpu_use_spot_instances": "bool",
    "ml_gpu_instance_types": "list(string)",
    "ml_gpu_max_vcpus": "number",
    "ml_gpu_volume_size": "number",
    "ml_cpu_job_vcpus": "number",
    "ml_cpu_job_memory": "number",
    "ml_cpu_use_spot_instances": "bool",
    "ml_cpu_instance_types": "list(string)",
    "ml_cpu_max_vcpus": "number",
    "ml_cpu_volume_size": "number",
    "ml_container_image": "string",
    "ml_cpu_container_image": "string",
    "ml_on_demand_fallback": "bool",
    "ml_on_demand_queues": "bool",
    "ml_job_timeout_seconds": "number",
    "ml_job_attempts": "number",
    "ml_shared_memory_size": "number",
    "extra_input_buckets": "list(string)",
    "checkpoint_retention_days": "number",
    "run_retention_days": "number",
    "log_retention_days": "number",
    "force_destroy": "bool",
    "start_on_upload": "bool",
    "vpc_cidr": "string",
    "private_subnets": "bool",
}
OUTPUTS = [
    "aws_region",
    "ml_input_bucket",
    "ml_output_bucket",
    "ml_models_bucket",
    "trigger_events_topic_arn",
    "start_on_upload",
    "notification_topic_arn",
    "trigger_dlq_url",
    "monitor_dlq_url",
    "ml_gpu_job_queue",
    "ml_cpu_job_queue",
    "ml_on_demand_job_queues",
    "ml_gpu_repository",
    "ml_cpu_repository",
    "ml_job_log_group",
    "dispatcher_log_group",
    "monitor_log_group",
    "data_protection",
]
# Of the first README.
FIRST_VARIABLES = [
    "ml_gpu_job_vcpus",
    "ml_gpu_job_memory",
    "ml_gpu_job_gpus",
    "ml_gpu_use_spot_instances",
    "ml_cpu_job_vcpus",
    "ml_cpu_job_memory",
    "ml_cpu_use_spot_instances",
    "ml_container_image",
    "notification_emails",
]
FIRST_OUTPUTS = ["ml_input_bucket", "trigger_events_topic_arn", "trigger_dlq_url", "monitor_dlq_url"]
FILES = [
    "terraform.tfvars.example",
    "docker/build-and-push.sh",
    "modules/batch/docker/build-and-push.sh",
    "modules/lambda/functions/dispatcher.py",
    "modules/lambda/functions/triggers/__init__.py",
    "modules/lambda/functions/triggers/base.py",
    "modules/lambda/functions/triggers/batch_job.py",
    "modules/lambda/functions/message.schema.json",
    "examples/gpu_training.py",
    "examples/gpu_inference.py",
    "examples/cpu_processing.py",
    "jobs/cleanup_processor.py",
]


def root_module() -> str:
    return "\n".join(path.read_text() for path in sorted(ROOT.glob("*.tf")))


def test_root_variables_keep_their_names_and_types() -> None:
    declared = dict(VARIABLE.findall(root_module()))
    assert {name: declared.get(name) for name in VARIABLES} == VARIABLES
    assert set(FIRST_VARIABLES) <= set(VARIABLES)


def test_root_outputs_keep_their_names() -> None:
    declared = OUTPUT.findall(root_module())
    assert [name for name in OUTPUTS if name not in declared] == []
    assert set(FIRST_OUTPUTS) <= set(OUTPUTS)


@pytest.mark.parametrize("name", FILES)
def test_files_that_users_call_copy_or_edit_keep_their_place(name: str) -> None:
    path = ROOT / name
    assert path.is_file()
    assert path.suffix != ".sh" or os.access(path, os.X_OK)


def test_the_example_that_users_copy_has_every_variable() -> None:
    example = (ROOT / "terraform.tfvars.example").read_text()
    assert [name for name in VARIABLES if not re.search(rf"^(# )?{name} +=", example, re.MULTILINE)] == []
