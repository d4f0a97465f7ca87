"""The JSON Schema (draft 7) of a message. message.schema.json and the tables of fields in the docs are written from it.

Each `description` is what a refusal shows as "allowed", so it says what values a field takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from splatworks.contract.resumes import MAX_RESUMES, RESUME
from splatworks.contract.stages import STAGES, Stage, presets_of, steps_of, swept_stages

Schema = dict[str, Any]

MAX_PARAMETERS = 100
LOCATIONS = {"minLength": 1, "maxLength": 1100}
DEFINED = "#/definitions/"

METADATA_FIELDS = ("user", "project", "experiment")

JOB_FIELDS: dict[str, Schema] = {
    "script_key": {
        "description": "the key of a Python script in the input bucket: stages/….py, jobs/….py or examples/….py, "
        "at most 512 characters",
        "type": "string",
        "minLength": 1,
        "maxLength": 512,
    },
    "compute_type": {"description": "gpu (the default) or cpu", "type": "string", "enum": ["gpu", "cpu"]},
    "vcpus": {"description": "a whole number of vCPUs, at least 1", "type": "integer", "minimum": 1},
    "memory": {"description": "a whole number of MiB, at least 128", "type": "integer", "minimum": 128},
    "gpus": {
        "description": "a whole number of GPUs: at least 1 on gpu, 0 on cpu",
        "type": "integer",
        "minimum": 0,
    },
    "input": {
        "description": "an S3 URI or a key of the input bucket, or a list of 1 to 20 of them; downloaded before the "
        "script starts",
        "type": ["string", "array"],
        **LOCATIONS,
        "minItems": 1,
        "maxItems": 20,
        "items": {"$ref": f"{DEFINED}s3_location"},
    },
    "args": {
        "description": "a list of at most 200 strings of at most 4096 characters, the script's arguments "
        '(numbers as strings: "200")',
        "type": "array",
        "maxItems": 200,
        "items": {
            "description": 'a string of at most 4096 characters without NUL (numbers as strings: "200")',
            "type": "string",
            "maxLength": 4096,
            "pattern": "^[^\\u0000]*$",
        },
    },
    "parameters": {
        "description": "an object of at most 100 values, each a string, a number or a boolean; the script finds them "
        "as PARAM_<NAME> and in parameters.json",
        "type": "object",
        "maxProperties": MAX_PARAMETERS,
        "propertyNames": {
            "description": "names of letters, digits and underscores that begin with a letter, of at most 64 "
            "characters",
            "maxLength": 64,
            "pattern": "^[A-Za-z][A-Za-z0-9_]*$",
        },
        "additionalProperties": {
            "description": "a string of at most 8192 characters without NUL, a number or a boolean",
            "type": ["string", "number", "boolean"],
            "maxLength": 8192,
            "pattern": "^[^\\u0000]*$",
        },
    },
    "operation": {
        "description": "a word for the script, such as cleanup-cache: letters, digits and . _ : -, at most 128; the "
        "script finds it as OPERATION",
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$",
    },
    "timeout_seconds": {
        "description": "a whole number of seconds per attempt, from 60 to 1209600 (14 days)",
        "type": "integer",
        "minimum": 60,
        "maximum": 1209600,
    },
    "attempts": {
        "description": "a whole number from 1 to 10: how often the job may start; each lost machine uses one"
        ", and each temporary fault",
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
    },
    "auto_resume": {
        "description": f"a whole number from 0 to {MAX_RESUMES}: how often the platform starts it again, from its last "
        "checkpoint, once its attempts are used up because of lost machines; 5, 10, 20 … minutes later; not for arrays",
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_RESUMES,
    },
    "priority": {
        "description": "a whole number from 0 to 9999; among the jobs of one project the higher runs first",
        "type": "integer",
        "minimum": 0,
        "maximum": 9999,
    },
    "array_size": {
        "description": "a whole number from 2 to 10000: run this many copies, each with its own "
        "AWS_BATCH_JOB_ARRAY_INDEX",
        "type": "integer",
        "minimum": 2,
        "maximum": 10000,
    },
    "depends_on": {
        "description": "a list of at most 20 different Batch job ids, which must succeed before this job starts",
        "type": "array",
        "minItems": 1,
        "maxItems": 20,
        "uniqueItems": True,
        "items": {
            "description": "a Batch job id, such as 4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
            "type": "string",
            "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        },
    },
    "spot": {
        "description": "true or false; false goes to the on-demand queue, if the platform has one",
        "type": "boolean",
    },
    "max_cost_usd": {
        "description": "a number of US dollars above 0, at most 100000: the job is stopped once it has cost this "
        "much; on spot machines only",
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 100000,
    },
    "job_name": {
        "description": "letters, digits, hyphens and underscores, beginning with a letter or digit, at most 100 "
        "characters",
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
    },
    "request_id": {
        "description": "letters, digits and . _ : / @ + -, at most 128 characters; two messages of one id start one "
        "job",
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$",
    },
}

STAGE_JOB_FIELDS = ("vcpus", "memory", "gpus", "spot", "timeout_seconds", "attempts", "parameters")
SHARED_FIELDS = ("auto_resume", "priority", "job_name", "request_id")  # of a job and of a run


def message_schema(stages: Mapping[str, Stage] = STAGES) -> Schema:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Splatworks message",
        "description": "What one publishes to the trigger topic to start work. Unknown fields are refused.",
        "type": "object",
        "required": ["trigger_type", "data"],
        "additionalProperties": False,
        "properties": {
            "trigger_type": {
                "description": "the name of a trigger, such as batch_job",
                "type": "string",
                "minLength": 1,
                "maxLength": 64,
            },
            "data": {
                "description": "an object with what the trigger needs: at least script_key for batch_job, input or "
                "inputs for splat_pipeline",
                "type": "object",
            },
            "metadata": {
                "description": "an object with any of user, project and experiment",
                "type": "object",
                "additionalProperties": False,
                "properties": {name: {"$ref": f"{DEFINED}label"} for name in METADATA_FIELDS},
            },
        },
        "allOf": [_if_trigger(name) for name in ("batch_job", "splat_pipeline", RESUME)],
        "definitions": {
            "label": {
                "description": "text of at most 256 characters; what tags do not allow is replaced by a hyphen",
                "type": "string",
                "maxLength": 256,
            },
            "s3_location": {
                "description": "an S3 URI (s3://bucket/folder/) or a key of the input bucket (photos/my-scene/)",
                "type": "string",
                **LOCATIONS,
            },
            "batch_job": {
                "title": "One job on AWS Batch",
                "type": "object",
                "required": ["script_key"],
                "additionalProperties": False,
                "properties": JOB_FIELDS,
            },
            "splat_pipeline": _pipeline(stages),
            RESUME: _resume(),
            "stage": _stage(stages),
            "swept": _swept(),
        },
    }


def _if_trigger(name: str) -> Schema:
    return {
        "if": {"required": ["trigger_type"], "properties": {"trigger_type": {"const": name}}},
        "then": {"properties": {"data": {"$ref": f"{DEFINED}{name}"}}},
    }


def _pipeline(stages: Mapping[str, Stage]) -> Schema:
    steps = list(steps_of(stages))
    swept = list(swept_stages(stages))
    return {
        "title": f"Photos to a scene for the browser: {', '.join(stage.title for stage in stages.values())}",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "input": {
                **JOB_FIELDS["input"],
                "description": "an S3 URI or a key of the input bucket, or a list of 1 to 20 of them: one scene's "
                "photos, or an earlier run's output if steps starts later",
            },
            "inputs": {
                "description": "several scenes, at most 10000: a folder (photos/batch/) in which each folder and each "
                "zip is a scene, or the key of a .json file: a list of locations or of "
                '{"name": …, "input": …}',
                "type": "string",
                **LOCATIONS,
            },
            "steps": {
                "description": f"{one_of(steps)}: the stage to start with (full, the default, is all); later ones "
                "continue from an earlier run's output",
                "type": "string",
                "enum": steps,
            },
            "preset": {
                "description": "draft, standard or high: sets sfm's quality (fast, normal, high) and train's preset; "
                "a stage's own parameters win",
                "type": "string",
                "enum": list(presets_of(stages)),
            },
            **{name: {"$ref": f"{DEFINED}stage"} for name in stages},
            "sweep": {
                "description": f"an object with {one_of(swept)} or several, each an object of lists: "
                '{"train": {"cap_max": [200000, 500000]}}; 2 to 50 variants in all',
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": {name: {"$ref": f"{DEFINED}swept"} for name in swept},
            },
            "fresh": {
                "description": "true or false; true runs every stage even if an earlier run has its result",
                "type": "boolean",
            },
            "max_cost_usd": {
                **JOB_FIELDS["max_cost_usd"],
                "description": "a number of US dollars above 0, at most 100000: the run (with inputs or a sweep: each "
                "scene or variant) is stopped once it has cost this much; on spot machines only",
            },
            **{name: {"$ref": f"{DEFINED}batch_job/properties/{name}"} for name in SHARED_FIELDS},
        },
    }


def _resume() -> Schema:
    return {
        "title": "The platform's own message: a run that lost its machines goes on",
        "type": "object",
        "required": ["key", "number", "request_id"],
        "additionalProperties": False,
        "properties": {
            "key": {
                "description": "the key of run.json, or of a batch_job's request.json, in the output bucket",
                "type": "string",
                "pattern": "^runs/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/(run\\.json|[A-Za-z0-9_-]+/request\\.json)$",
                "maxLength": 512,
            },
            "number": {
                "description": f"a whole number from 1 to {MAX_RESUMES}: the first, second … resumption",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_RESUMES,
            },
            "request_id": {"$ref": f"{DEFINED}batch_job/properties/request_id"},
        },
    }


def _stage(stages: Mapping[str, Stage]) -> Schema:
    on_gpu = [stage.name for stage in stages.values() if stage.compute_type == "gpu"]
    return {
        "description": f"an object with any of compute_type, {', '.join(STAGE_JOB_FIELDS[:-1])} and parameters",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "compute_type": {
                "description": f"gpu or cpu; the default is gpu for {' and '.join(on_gpu) or 'no stage'}, cpu "
                "for the others",
                "type": "string",
                "enum": ["gpu", "cpu"],
            },
            **{name: {"$ref": f"{DEFINED}batch_job/properties/{name}"} for name in STAGE_JOB_FIELDS},
        },
    }


def _swept() -> Schema:
    parameters = f"{DEFINED}batch_job/properties/parameters/"
    return {
        "description": 'an object of at least one parameter with the list of its values: {"cap_max": [200000, 500000]}',
        "type": "object",
        "minProperties": 1,
        "maxProperties": 20,
        "propertyNames": {"$ref": f"{parameters}propertyNames"},
        "additionalProperties": {
            "description": "a list of 1 to 50 different values, each a string, a number or a boolean",
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "uniqueItems": True,
            "items": {"$ref": f"{parameters}additionalProperties"},
        },
    }


def one_of(names: Sequence[str]) -> str:
    """The names as text: "full, train or compress"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
