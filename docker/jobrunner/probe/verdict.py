"""Whether the GPUs that a job has reserved can be used, and who is at fault if not."""

import re
from collections.abc import Mapping
from dataclasses import replace

from jobrunner.failures import RunnerError
from jobrunner.probe.gpu_probe import GpuAnswer, expected_gpus
from splatworks.contract.documents.job import ProbeFacts
from splatworks.contract.host import BAD_HOST_ERROR

# docker/gpu.Dockerfile sets both: TORCH_CUDA_ARCH_LIST of the build, and nvidia/cuda's own version.
ARCHITECTURES, CUDA_VERSION = "CUDA_ARCHITECTURES", "CUDA_VERSION"
ARCHITECTURE = re.compile(r"(\d+)\.(\d+)[a-z]?(\+PTX)?", re.IGNORECASE)
BAD_HOST_FIX = "Nothing: the host is taken out of service, and the job is tried again on another"
UNSUPPORTED_FIX = (
    "Use instance types whose GPU the image supports (ml_gpu_instance_types), or build the image for this one: "
    "TORCH_CUDA_ARCH_LIST and BASE_IMAGE of docker/gpu.Dockerfile. If the driver is too old, replace the compute "
    "environment (docs/operations.md, Upgrading)"
)


class BadHostError(RunnerError):
    """Stops the attempt: the host is at fault, and another one may do."""

    def __init__(self, cause: str) -> None:
        super().__init__(BAD_HOST_ERROR, cause, BAD_HOST_FIX, retryable=True)


def broken_gpu(answer: GpuAnswer, environment: Mapping[str, str]) -> str | None:
    """Why the GPUs do not work; None if all that are reserved do."""
    if answer.problem:
        return answer.problem
    if len(answer.gpus) < (expected := expected_gpus(environment)):
        return f"the driver shows {len(answer.gpus)} of the {expected} GPUs that are reserved for the job"
    return None


def judged(facts: ProbeFacts, answer: GpuAnswer, environment: Mapping[str, str]) -> ProbeFacts:
    """The facts with the GPUs' answer. An image that does not fit is not the host's fault: no other host would do."""
    facts = replace(facts, cuda=answer.cuda, gpus=answer.gpus)
    if mismatch := _old_driver(facts, environment.get(CUDA_VERSION, "")) or _other_architecture(facts):
        return replace(facts, gpu_problem=mismatch)
    broken = broken_gpu(answer, environment)
    return replace(facts, gpu_problem=broken, gpu_is_bad=broken is not None)


def error_of(facts: ProbeFacts, instance_type: str | None) -> RunnerError | None:
    """The error that the attempt ends with; None if the GPUs can be used."""
    if facts.gpu_problem is None:
        return None
    if facts.gpu_is_bad:
        return BadHostError(f"the GPU of this host does not work: {facts.gpu_problem}")
    cause = f"{facts.gpu_problem} (instance type: {instance_type or 'unknown'})"
    return RunnerError("gpu_not_supported", cause, UNSUPPORTED_FIX)


def is_covered(capability: str, architectures: str) -> bool:
    """Whether code for `architectures`, in the form of TORCH_CUDA_ARCH_LIST, runs on a GPU of this compute capability.

    Binary code runs on the same major version from its minor version on (8.6 on 8.9, not on 9.0), except for 9.0a and
    the like, which run on that one alone; PTX runs on all later ones. CUDA C++ Programming Guide, "Application
    Compatibility".
    """
    gpu = tuple(int(part) for part in capability.split("."))
    for each in re.split(r"[;,\s]+", architectures.strip()):
        if not (match := ARCHITECTURE.fullmatch(each)):
            return True  # a name such as Ampere, or another form: nobody knows
        built = int(match[1]), int(match[2])
        is_specific = each[len(f"{match[1]}.{match[2]}") :][:1].isalpha()
        if built == gpu or (not is_specific and ((match[3] and gpu >= built) or (gpu[0] == built[0] and gpu >= built))):
            return True
    return False


def _other_architecture(facts: ProbeFacts) -> str | None:
    for gpu in facts.gpus:
        if gpu.capability and facts.architectures and not is_covered(gpu.capability, facts.architectures):
            built = re.sub(r"[;,\s]+", ", ", facts.architectures)
            name = gpu.name or "the GPU"
            return f"{name} has compute capability {gpu.capability}, but the image is built for {built}"
    return None


def _old_driver(facts: ProbeFacts, built: str) -> str | None:
    """CUDA runs with each driver of the same or a later major version.

    All hosts of an environment have the same driver, so another host would not do.
    """
    major = built.partition(".")[0]
    if not facts.cuda or not major.isdecimal() or int(facts.cuda.partition(".")[0]) >= int(major):
        return None
    version = f" {facts.driver}" if facts.driver else ""
    return f"the NVIDIA driver{version} supports CUDA up to {facts.cuda}, but the image has CUDA {built}"
