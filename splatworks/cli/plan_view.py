"""A plan as a table for people, or as JSON for programs."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from splatworks.cli.estimates import StageEstimate, TimeEstimate
from splatworks.cli.plans import PlannedStage, RunPlan
from splatworks.cli.status_view import print_columns
from splatworks.report.email_text import duration

Row = tuple[str, ...]
HEADS: Row = ("STAGE", "PARTS", "ON", "MACHINE", "TIME", "COST")
TYPES_SHOWN = 3


def show_plan(console: Console, plan: RunPlan, estimates: list[StageEstimate], upload_bytes: int) -> None:
    rows = [_row(stage, estimate) for stage, estimate in zip(plan.stages, estimates, strict=True)]
    if console.is_terminal:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for head in HEADS:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, highlight=False, markup=False)
    else:
        print_columns([HEADS, *rows])
    print()
    for line in _lines_below(plan, estimates, upload_bytes):
        print(line)


def as_json(plan: RunPlan, estimates: list[StageEstimate]) -> dict[str, Any]:
    stages = []
    for stage, estimate in zip(plan.stages, estimates, strict=True):
        cost = estimate.cost(stage.size)
        facts = {
            "seconds": asdict(estimate.time) if estimate.time else None,
            "usd_per_hour": asdict(estimate.price) if estimate.price else None,
            "usd": {"lowest": cost[0], "highest": cost[1]} if cost else None,
        }
        stages.append({**asdict(stage), "estimate": facts})
    return {"run_id": plan.run_id, "output": plan.output, "reuse_known": plan.reuse_known, "stages": stages}


def _row(stage: PlannedStage, estimate: StageEstimate) -> Row:
    if stage.reused_from:
        return (stage.stage, str(stage.size), "not run", f"its result is there: {stage.reused_from}", "", "nothing")
    sizes = [f"{stage.vcpus} vCPUs", f"{stage.memory} MiB", _gpus(stage.gpus)]
    kind = f"{stage.compute_type}, {'spot' if stage.spot else 'on demand'}"
    return (
        stage.stage,
        str(stage.size),
        kind,
        f"{', '.join(filter(None, sizes))} ({_types(stage.instances)})",
        _time(stage, estimate.time),
        _cost(stage, estimate),
    )


def _gpus(count: int) -> str:
    return "" if count == 0 else "1 GPU" if count == 1 else f"{count} GPUs"


def _types(names: tuple[str, ...]) -> str:
    return ", ".join(names[:TYPES_SHOWN]) + (
        f" or {len(names) - TYPES_SHOWN} more types" if len(names) > TYPES_SHOWN else ""
    )


def _time(stage: PlannedStage, time: TimeEstimate | None) -> str:
    limit = f"at most {duration(stage.timeout_seconds)}" + (" an attempt" if stage.attempts > 1 else "")
    if time is None:
        return f"unknown, {limit}"
    options = "the same parameters" if time.same_options else "other parameters"
    runs = "1 run" if time.runs == 1 else f"{time.runs} runs"
    each = " each" if stage.size > 1 else ""
    return f"{duration(time.seconds)}{each} (median of {runs} with {options})"


def _cost(stage: PlannedStage, estimate: StageEstimate) -> str:
    cost = estimate.cost(stage.size)
    if cost:
        return _money(*cost)
    if estimate.price:
        return f"unknown, at {_money(estimate.price.lowest, estimate.price.highest)} an hour"
    return "unknown"


def _money(lowest: float, highest: float) -> str:
    return f"{lowest:.2f} USD" if f"{lowest:.2f}" == f"{highest:.2f}" else f"{lowest:.2f} to {highest:.2f} USD"


def _lines_below(plan: RunPlan, estimates: list[StageEstimate], upload_bytes: int) -> list[str]:
    lines = []
    costs = [
        estimate.cost(stage.size)
        for stage, estimate in zip(plan.stages, estimates, strict=True)
        if stage.reused_from is None
    ]
    known = [cost for cost in costs if cost]
    if costs and len(known) == len(costs):
        lines.append(
            f"In all:   {_money(sum(low for low, _ in known), sum(high for _, high in known))}, at today's spot prices"
        )
    elif not costs:
        lines.append("In all:   nothing; every result is there (--fresh runs it all the same)")
    else:
        lines.append("In all:   unknown; --max-cost stops a run that costs more than you say")
    if upload_bytes:
        lines.append(f"Upload:   {upload_bytes / 1e6:.1f} MB; results of earlier runs are looked for once it is there")
    lines.append(f"Output:   {plan.output}")
    lines.append("Nothing was submitted.")
    return lines
