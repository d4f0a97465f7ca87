"""What a field of a message is if it is left out, as the docs show it. The dispatcher's settings are Terraform's."""

from collections.abc import Mapping

NONE = "none"

JOB_DEFAULTS: Mapping[str, str] = {
    "script_key": "required",
    "compute_type": "`gpu`",
    "vcpus": "set by Terraform",
    "memory": "set by Terraform",
    "gpus": "set by Terraform",
    "input": NONE,
    "args": "`[]`",
    "parameters": "`{}`",
    "operation": NONE,
    "timeout_seconds": "`ml_job_timeout_seconds` of Terraform",
    "attempts": "`ml_job_attempts` of Terraform",
    "auto_resume": "`0`",
    "priority": "`0`",
    "array_size": NONE,
    "depends_on": NONE,
    "spot": "`true`",
    "max_cost_usd": NONE,
    "job_name": "the script's name",
    "request_id": "the SNS message id",
}

STAGE_DEFAULT = "`{}`"

PIPELINE_DEFAULTS: Mapping[str, str] = {
    "input": "`input` or `inputs` is required",
    "inputs": NONE,
    "steps": "`full`",
    "preset": "`standard`",
    "sweep": NONE,
    "fresh": "`false`",
    "max_cost_usd": NONE,
    "auto_resume": "`0`",
    "priority": "`0`",
    "job_name": "the last part of `input`",
    "request_id": "the SNS message id",
}
