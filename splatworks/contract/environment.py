"""The environment variables that a script finds. The README's table is written from this one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SetBy = Literal["runner", "dispatcher", "job definition"]

# Set by the dispatcher in the container overrides, read by the runner, the monitor and the command line.
REQUEST_KEY, OUTPUT_PREFIX, RUN_ID, STAGE_NAME, RUN_KEY = "REQUEST_KEY", "OUTPUT_PREFIX", "RUN_ID", "STAGE", "RUN_KEY"
PARAMETER_PREFIX = "PARAM_"
VCPUS = "VCPUS"
# Libraries that otherwise start a thread per core of the machine, by the variable that they read.
THREAD_COUNTS: Mapping[str, str] = {
    "OMP_NUM_THREADS": "OpenMP, which torch and faiss use",
    "OPENBLAS_NUM_THREADS": "OpenBLAS, which numpy uses",
    "MKL_NUM_THREADS": "MKL",
    "NUMBA_NUM_THREADS": "numba",
    "RAYON_NUM_THREADS": "libraries in Rust",
    "TF_NUM_INTRAOP_THREADS": "TensorFlow, within an operation",
    "TF_NUM_INTEROP_THREADS": "TensorFlow, between operations",
}
REGION = "AWS_DEFAULT_REGION"
# The folders of a script in its container, by the option of a stage that they set.
FOLDERS: Mapping[str, str] = {
    "input_dir": "/workspace/input",
    "output_dir": "/workspace/output",
    "checkpoint_dir": "/workspace/checkpoints",
    "models_dir": "/opt/models",
}


def parameter_variable(name: str) -> str:
    return f"{PARAMETER_PREFIX}{name.upper()}"


def label_variable(label: str) -> str:
    """The variable with a label of the message's metadata: user, project or experiment."""
    return f"TRIGGER_{label.upper()}"


@dataclass(frozen=True, kw_only=True)
class Variable:
    set_by: SetBy
    meaning: str


SCRIPT_VARIABLES: Mapping[str, Variable] = {
    "INPUT_DIR": Variable(
        set_by="runner",
        meaning=f"`{FOLDERS['input_dir']}`, the files that `input` names: directly in it if `input` is a string, each "
        "location in a folder of its last name if it is a list",
    ),
    "OUTPUT_DIR": Variable(
        set_by="runner",
        meaning=f"`{FOLDERS['output_dir']}`, uploaded to `s3://$ML_OUTPUT_BUCKET/$OUTPUT_PREFIX`, also if the script "
        "fails",
    ),
    "CHECKPOINT_DIR": Variable(
        set_by="runner",
        meaning=f"`{FOLDERS['checkpoint_dir']}`, mirrored to S3 while the script runs, restored before a retry",
    ),
    "MODELS_DIR": Variable(set_by="runner", meaning=f"`{FOLDERS['models_dir']}`, on EFS, shared by all jobs"),
    "PARAMETERS_FILE": Variable(set_by="runner", meaning="`/workspace/parameters.json`, the message's `parameters`"),
    f"{PARAMETER_PREFIX}<NAME>": Variable(
        set_by="runner", meaning="each of the message's `parameters`, its name in upper case"
    ),
    "OPERATION": Variable(set_by="runner", meaning="the message's `operation`, if it has one"),
    "TMPDIR": Variable(set_by="runner", meaning="`/workspace/tmp`, for temporary files"),
    VCPUS: Variable(set_by="runner", meaning="the vCPUs that are reserved for the job; the machine may have more"),
    **{name: Variable(set_by="runner", meaning=f"the same, for {of}") for name, of in THREAD_COUNTS.items()},
    "OUTPUT_PREFIX": Variable(
        set_by="runner", meaning="`runs/<project>/<run>/<stage>/`, in an array followed by `<index>/`"
    ),
    "RUN_ID": Variable(set_by="dispatcher", meaning="`<run>` of that prefix"),
    "STAGE": Variable(
        set_by="dispatcher", meaning="`<stage>` of that prefix; for your own script its name without `.py`"
    ),
    "TRIGGER_USER": Variable(set_by="dispatcher", meaning="`metadata.user` of the message"),
    "TRIGGER_PROJECT": Variable(set_by="dispatcher", meaning="`metadata.project` of the message"),
    "TRIGGER_EXPERIMENT": Variable(set_by="dispatcher", meaning="`metadata.experiment` of the message"),
    "COMPUTE_TYPE": Variable(set_by="job definition", meaning="`gpu` or `cpu`"),
    "ML_INPUT_BUCKET": Variable(set_by="job definition", meaning="name of the input bucket"),
    "ML_OUTPUT_BUCKET": Variable(set_by="job definition", meaning="name of the output bucket"),
    "ML_MODELS_BUCKET": Variable(set_by="job definition", meaning="name of the models bucket"),
    REGION: Variable(set_by="job definition", meaning="region of the platform"),
}
