"""The results of a run: the link to its page, and its files on this machine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from boto3.s3.transfer import TransferConfig

from splatworks.cli.platform import Platform
from splatworks.cli.problems import Problem, TransferStopped
from splatworks.cli.run_states import RunStatus, StageStatus
from splatworks.contract.failures import UnusableInputError
from splatworks.contract.keys import run_folder
from splatworks.contract.paths import path_below, refuse_collisions
from splatworks.contract.stages import STAGES

LONGEST_HOURS = 168  # AWS signs for a week at most
WORKERS = 16


@dataclass(frozen=True)
class OutputFile:
    key: str
    size: int
    target: Path


def viewer_link(platform: Platform, run: RunStatus, index: int | None, hours: float) -> str:
    """Presigned. It ends earlier where the credentials that sign it do."""
    stage, page = _stage_with_page(run)
    if stage.size > 1 and index is None:
        raise Problem(
            f"The run {run.id} has {stage.size} scenes.",
            f"Name one: splatworks open {run.id} --index 0 (to {stage.size - 1})",
        )
    if index is not None and not 0 <= index < stage.size:
        raise Problem(f"There is no scene {index} in {run.id}.", f"There is 0 to {stage.size - 1}.")
    part = f"{index}/" if stage.size > 1 else ""
    s3, bucket, key = platform.client("s3"), platform.settings.output_bucket, f"{stage.output_prefix}{part}{page}"
    if not s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"):
        raise Problem(
            f"There is no page yet: s3://{bucket}/{key} does not exist.",
            f"{stage.name} writes it at its end: splatworks status {run.id}",
        )
    wanted = {"Bucket": bucket, "Key": key, "ResponseContentType": "text/html; charset=utf-8"}
    link: str = s3.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(hours * 3600))
    return link


def _stage_with_page(run: RunStatus) -> tuple[StageStatus, str]:
    """The stage of the run that writes a web page, and the page's key below its output."""
    pages = {stage.name: stage.page for stage in STAGES.values() if stage.page}
    for stage in run.stages:
        if stage.name in pages and stage.output_prefix:
            return stage, pages[stage.name]
    raise Problem(
        f"The run {run.id} has no stage {' or '.join(pages)}, which makes the page.",
        f"splatworks download {run.id} fetches what it made.",
    )


def files_of(platform: Platform, run: RunStatus, stage: str | None, folder: Path) -> list[OutputFile]:
    """folder/<stage>/…; of a stage that was reused, the files of the run that made them."""
    stages = [run.stage(stage)] if stage else list(run.stages)
    places = [(each.output_prefix, folder / (each.name or "script"), "") for each in stages if each.output_prefix]
    if stage is None and run.project:
        places.append((run_folder(run.project, run.id), folder, "/"))  # run.json, leaderboard.csv
    found = [file for place in places for file in _files(platform, *place)]
    if not found:
        raise Problem(f"{run.id} has left no files yet.", f"How far it is: splatworks status {run.id}")
    try:
        refuse_collisions((file.target, file.key) for file in found)
    except UnusableInputError as error:
        raise Problem(f"{error.cause}.", "Fetch one stage at a time, or use aws s3 cp.") from None
    return found


def _files(platform: Platform, prefix: str, folder: Path, delimiter: str) -> list[OutputFile]:
    pages = platform.client("s3").get_paginator("list_objects_v2")
    bucket = platform.settings.output_bucket
    found = [
        item
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter=delimiter)
        for item in page.get("Contents", [])
        if not item["Key"].endswith("/")
    ]
    try:
        return [
            OutputFile(item["Key"], item["Size"], path_below(folder, item["Key"].removeprefix(prefix), item["Key"]))
            for item in found
        ]
    except UnusableInputError as error:
        raise Problem(f"{error.cause}.", "Fetch it with aws s3 cp.") from None


def download(platform: Platform, files: list[OutputFile], advance: Callable[[int], None]) -> None:
    """Each file is written beside and renamed by boto3, so that none is ever half there."""
    s3, bucket, stopped = platform.client("s3"), platform.settings.output_bucket, Event()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="download")
    try:
        futures = [pool.submit(_fetch, s3, bucket, file, advance, stopped) for file in files]
        for future in as_completed(futures):
            future.result()
    except BaseException:
        stopped.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch(s3: Any, bucket: str, file: OutputFile, advance: Callable[[int], None], stopped: Event) -> None:
    def came(count: int) -> None:
        if stopped.is_set():
            raise TransferStopped
        advance(count)

    config = TransferConfig(use_threads=False)
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, file.key, str(file.target), Callback=came, Config=config)
    except OSError as error:
        cause = f"{file.target} cannot be written: {error.strerror or error}."
        raise Problem(cause, "Name another folder with --to.") from None
