"""The e-mail about a run of several scenes: counts, what failed and why, what the others are worth."""

import json
import shlex
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from aws.clients import client
from gather import run_continue
from gather.run_facts import chain_facts
from gather.run_links import renewing_command
from gather.run_parts import Failure, Outcome, Part, ended_in, failures, outcomes, read_parts
from gather.run_text import PAGE, Email, as_email, cell, failures_text, lost_text, took
from splatworks.planning.settings import MonitorSettings
from splatworks.report.email_text import labelled, table
from splatworks.report.job_facts import Job
from splatworks.report.run_record import Run
from splatworks.report.stage_figures import usd_text

FAILURES_SHOWN = 20
TABLE_LIMIT = 50  # scenes that are shown one by one
READ_LIMIT = 500  # scenes whose files are read: six each, which the function must manage in its minute
FAILED = "failed.json"
SCENES_LIMIT = 32_000_000  # bytes of scenes.json

Scene = dict[str, Any]  # of scenes.json: name and input


def compose(run: Run, jobs: Mapping[str, Job], settings: MonitorSettings, region: str) -> Email:
    bucket = settings.output_bucket
    found = outcomes(run, jobs)
    failed = ended_in(found)
    scenes = _read_scenes(run, bucket)
    parts = read_parts(run, _looked_at(run, failed), bucket, ended_in=failed, shared={})
    good = [part for part in parts if part.index not in failed]
    headline = _headline(run, failed)
    text = [
        f"{headline}.",
        labelled({"Took": took(run, chain_facts(run, dict(jobs), bucket)), **_figures(run, parts, good)}),
        _counts(found),
        _failed_text(failures(found, FAILURES_SHOWN, region, bucket), len(failed), scenes, run, settings),
        _done_text(_few_done(run, failed, parts, bucket), scenes),
        _where_text(
            run, next((index for index in range(run.scene_count) if index not in failed), None), settings, region
        ),
        _cost_command(run, settings) if len(parts) < run.scene_count else "",
        _again_text(run, failed, scenes, settings),
    ]
    return as_email(settings, headline, text, succeeded=not failed)


def _headline(run: Run, failed: Mapping[int, str]) -> str:
    if not failed:
        return f"{run.id} is done: {run.scene_count:,} scenes"
    return f"{run.id}: {len(failed):,} of {run.scene_count:,} scenes FAILED"


def _read_scenes(run: Run, bucket: str) -> list[Scene]:
    body = client("s3").get_object(Bucket=bucket, Key=run.scenes_key)["Body"].read(SCENES_LIMIT)
    scenes: list[Scene] = json.loads(body)
    return scenes


def _looked_at(run: Run, failed: Mapping[int, str]) -> list[int]:
    """All scenes, or so many of those that are done, at even distances (of those that failed where none is done)."""
    if run.scene_count <= READ_LIMIT:
        return list(range(run.scene_count))
    several = [index for index in range(run.scene_count) if index not in failed] or list(failed)
    taken = min(len(several), READ_LIMIT)
    return [several[number * len(several) // taken] for number in range(taken)]


def _figures(run: Run, parts: Sequence[Part], good: Sequence[Part]) -> dict[str, str]:
    of = "" if len(parts) == run.scene_count else f" (of {len(parts)} scenes that were looked at)"
    reused = sum(part.reused for part in parts)
    figures = {
        "PSNR": _middle([part.psnr for part in good], "dB"),
        "Size": _middle([part.megabytes for part in good], "MB"),
        "Reused": f"{reused} results of earlier runs" if reused else "",
        "Lost": lost_text([lost for part in parts for lost in part.interruptions]),
    }
    return {"Cost": _cost(run, parts)} | {name: f"{text}{of}" for name, text in figures.items() if text}


def _cost(run: Run, parts: Sequence[Part]) -> str:
    known = [part.usd for part in parts if part.usd is not None]
    if not known:
        return "unknown"
    if len(parts) < run.scene_count:
        mean = usd_text(sum(known) / len(known))
        return f"{mean} a scene, the mean of {len(known)} that were looked at; all are not added up here, see below"
    unknown = len(parts) - len(known)
    scenes = "1 scene" if unknown == 1 else f"{unknown} scenes"
    return f"at least {usd_text(sum(known))}; that of {scenes} is unknown" if unknown else usd_text(sum(known))


def _middle(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    return f"median {median(known):.2f} {unit}, from {min(known):.2f} to {max(known):.2f}" if known else ""


def _counts(found: Sequence[Outcome]) -> str:
    rows = [
        (outcome.stage.name, f"{outcome.done:,}", f"{len(outcome.failed):,}", f"{outcome.not_started:,}")
        for outcome in found
    ]
    return table(("Stage", "done", "failed", "not started"), rows)


def _failed_text(
    shown: Sequence[Failure], count: int, scenes: Sequence[Scene], run: Run, settings: MonitorSettings
) -> str:
    if not count:
        return ""
    text = failures_text({f"{scenes[each.index]['name']} (number {each.index})": each for each in shown}, settings)
    if len(shown) == count:
        return f"What failed:\n{text}"
    rest = f"aws s3 cp s3://{settings.output_bucket}/{run.folder}{FAILED} -"
    return f"The first {len(shown)} of {count:,} that failed:\n{text}\nAll that failed:\n  {rest}"


def _few_done(run: Run, failed: Mapping[int, str], parts: Sequence[Part], bucket: str) -> list[Part]:
    """The scenes that are done, unless they are too many to be shown one by one."""
    done = [index for index in range(run.scene_count) if index not in failed]
    if len(done) > TABLE_LIMIT:
        return []
    read = {part.index: part for part in parts}
    missing = [index for index in done if index not in read]
    read |= {part.index: part for part in read_parts(run, missing, bucket, ended_in={}, shared={})}
    return [read[index] for index in done]


def _done_text(good: Sequence[Part], scenes: Sequence[Scene]) -> str:
    header = ("Scene", "PSNR", "MB", "minutes", "USD")
    rows = [
        (
            str(scenes[part.index]["name"]),
            cell(part.psnr),
            cell(part.megabytes),
            cell(part.seconds and part.seconds / 60, 1),
            cell(part.usd, 4),
        )
        for part in good
    ]
    return table(header, rows) if rows else ""


def _where_text(run: Run, a_done_one: int | None, settings: MonitorSettings, region: str) -> str:
    root = f"s3://{settings.output_bucket}/{run.folder}"
    lines = [
        "Where:",
        f"  {root}<stage>/<number>/",
        f"  aws s3 cp {root}scenes.json -      (names each number, the first is 0)",
    ]
    if a_done_one is not None:
        page = f"{run.stages[-1].output_prefix}{a_done_one}/{PAGE}"
        lines += ["Look at one:", f"  {renewing_command(settings.output_bucket, page, region)}"]
    return "\n".join(lines)


def _cost_command(run: Run, settings: MonitorSettings) -> str:
    uri = f"s3://{settings.output_bucket}/{run.folder}"
    program = "[.[].cost.usd] | {usd: add, unknown: map(select(. == null)) | length}"
    return (
        "Add up what the last attempt of each stage of each scene has cost:\n"
        f"  aws s3 cp --recursive --exclude '*' --include '*/job.json' {uri} {run.id}/\n"
        f"  find {run.id} -name job.json -exec cat {{}} + | jq -s {shlex.quote(program)}"
    )


def _again_text(run: Run, failed: Mapping[int, str], scenes: Sequence[Scene], settings: MonitorSettings) -> str:
    if not failed:
        return ""
    key = f"{run.folder}{FAILED}"
    left = json.dumps([scenes[index] for index in failed], indent=1)
    run_continue.write(settings.output_bucket, key, left, "application/json")
    message = run_continue.again_where_it_failed(run, f"s3://{settings.output_bucket}/{key}")
    return "Run those that failed once more (their stages that are done are not run again):\n" + run_continue.command(
        message, run, settings
    )
