"""The machine that a job asks for: its queue and its size, checked against what the queue's machines hold."""

from dataclasses import dataclass
from operator import ge
from typing import Any

from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.settings import Compute, Instance


@dataclass(frozen=True, kw_only=True)
class Placement:
    compute_type: str  # gpu or cpu
    queue: str
    job_definition: str
    vcpus: int
    memory: int  # MiB
    gpus: int
    is_spot: bool
    instances: tuple[str, ...]  # types of the queue's machines that hold it
    # vcpus, memory and gpus that the message sets; the job definition has the rest. 0 GPUs are left out too.
    resources: dict[str, int]
    timeout_seconds: int | None = None  # per attempt; None: the job definition's
    attempts: int | None = None  # None: the job definition's


def place_job(
    options: dict[str, Any], computes: dict[str, Compute], max_cost_usd: float | None, path: str = "data"
) -> Placement:
    """Choose queue and size; raise BadInputError if no machine can run it.

    `options`: compute_type, vcpus, memory, gpus, spot, timeout_seconds and attempts, if the message sets them;
    `path` is their place in the message.
    """
    kind = options.get("compute_type", "gpu")
    compute = computes[kind]
    sizes = {name: int(options.get(name, getattr(compute, name))) for name in ("vcpus", "memory", "gpus")}
    vcpus, memory, gpus = sizes.values()
    if (gpus > 0) != (kind == "gpu"):
        raise _wrong_gpus(gpus, kind, path)
    instances = tuple(
        each.type for each in compute.instances if each.vcpus >= vcpus and each.memory >= memory and each.gpus >= gpus
    )
    if not instances or vcpus > compute.max_vcpus:
        raise _too_large(kind, compute, vcpus, memory, gpus, path)
    wants_spot = options.get("spot", True)
    is_spot = wants_spot and compute.queue != compute.on_demand_queue
    if max_cost_usd is not None and not is_spot:
        raise _no_price(max_cost_usd, kind, wants_spot, path)
    queue = compute.queue if wants_spot else compute.on_demand_queue
    if queue is None:
        raise _no_queue(kind, path)
    return Placement(
        compute_type=kind,
        queue=queue,
        job_definition=compute.job_definition,
        **sizes,
        is_spot=is_spot,
        instances=instances,
        resources={name: sizes[name] for name in sizes if options.get(name)},
        **{name: int(options[name]) for name in ("timeout_seconds", "attempts") if name in options},
    )


def _wrong_gpus(gpus: int, kind: str, path: str) -> BadInputError:
    other = "cpu" if kind == "gpu" else "gpu"
    return BadInputError(
        field=f"{path}.gpus",
        given=format_value(gpus),
        allowed=f"{'at least 1' if kind == 'gpu' else '0'} on compute_type {kind}",
        fix=f'Leave gpus out, or set "compute_type": "{other}".',
    )


def _too_large(kind: str, compute: Compute, vcpus: int, memory: int, gpus: int, path: str) -> BadInputError:
    """Batch would accept a job that no machine can hold, and leave it waiting for ever."""
    oversized = [f"{path}.{name}" for name in _oversized(compute, vcpus, memory, gpus)]
    return BadInputError(
        field=", ".join(oversized) or f"{path}.vcpus, {path}.memory, {path}.gpus together",
        given=f"{vcpus} vCPUs, {memory} MiB and {gpus} GPUs (defaults for what was left out)",
        allowed=f"what one {kind} machine has, at most {compute.max_vcpus} vCPUs. The largest: "
        + "; ".join(f"{i.type} ({i.vcpus} vCPUs, {i.memory} MiB, {i.gpus} GPUs)" for i in _largest(compute.instances)),
        fix="Ask for less, or add a larger instance type in Terraform.",
    )


def _no_price(limit: float, kind: str, wants_spot: bool, path: str) -> BadInputError:
    """The runner stops a job at a cost; it knows the prices of spot machines only."""
    problem = f"the {kind} machines of this platform are not spot machines" if wants_spot else f"{path}.spot is false"
    return BadInputError(
        field="data.max_cost_usd",
        given=format_value(limit),
        allowed="a limit for jobs on spot machines: the price of on-demand machines is not known to the runner",
        fix=f"Leave it out, or use spot machines: {problem}. Without it, timeout_seconds and attempts bound a job.",
    )


def _no_queue(kind: str, path: str) -> BadInputError:
    return BadInputError(
        field=f"{path}.spot",
        given="false",
        allowed=f"true: this platform has no on-demand queue for {kind}",
        fix="Leave spot out, or have the on-demand queues made in Terraform.",
    )


def _oversized(compute: Compute, vcpus: int, memory: int, gpus: int) -> list[str]:
    """The fields that are too large for every machine on their own account."""
    most_vcpus = min(compute.max_vcpus, max(instance.vcpus for instance in compute.instances))
    sizes = {
        "vcpus": vcpus > most_vcpus,
        "memory": memory > max(instance.memory for instance in compute.instances),
        "gpus": gpus > max(instance.gpus for instance in compute.instances),
    }
    return [name for name, too_large in sizes.items() if too_large]


def _largest(instances: tuple[Instance, ...]) -> list[Instance]:
    """The machines that no other machine exceeds in every respect."""
    shapes = {instance: (instance.vcpus, instance.memory, instance.gpus) for instance in instances}

    def exceeded(small: tuple[int, int, int]) -> bool:
        return any(other != small and all(map(ge, other, small)) for other in shapes.values())

    return [instance for instance, shape in shapes.items() if not exceeded(shape)]
