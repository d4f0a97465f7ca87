"""What a run's scripts printed, from CloudWatch Logs: attempt after attempt, stage after stage."""

import time
from collections.abc import Iterator

from botocore.exceptions import ClientError

from splatworks.cli.platform import Platform
from splatworks.cli.problems import Problem, error_code
from splatworks.cli.run_states import REUSED, RunStatus, StageStatus
from splatworks.cli.runs import array_child, find_run

EVERY = 2.0  # seconds between two looks, with --follow
# A line arrives in CloudWatch some seconds after it was printed, also the last one.
LATE_SECONDS = 6.0

Place = tuple[str, str]  # stage, log stream


def show_logs(platform: Platform, run: RunStatus, stage: str | None, *, index: int | None, follow: bool) -> None:
    reader = _Reader(platform)
    named = stage is None and len(run.stages) > 1
    while True:
        places = _places(platform, run, stage, index)
        for name, stream in places:
            for line in reader.new_lines(stream):
                print(f"{name}: {line}" if named else line, flush=True)
        watched = run.stages if stage is None else (run.stage(stage),)
        ended = run.ended or all(each.ended for each in watched)
        if not follow or (ended and reader.quiet_for > LATE_SECONDS):
            break
        time.sleep(EVERY)
        run = run if ended else find_run(platform, run.id)
    if reader.lines:
        return
    forgotten = [each.name for each in watched if each.ended and not each.job_id and each.status != REUSED]
    if forgotten:
        raise Problem(
            f"Batch has forgotten the jobs of {run.id} ({', '.join(forgotten)}), and with them which logs are theirs.",
            f"splatworks download {run.id} fetches what they left; old logs are in {platform.job_log_group}.",
        )
    if not follow:
        where = ", ".join(stream for _, stream in places) or "no part of it has started"
        raise Problem(f"There is no log of {run.id} yet ({where}).", "--follow waits for it.")


def _places(platform: Platform, run: RunStatus, name: str | None, index: int | None) -> list[Place]:
    stages = run.stages if name is None else (run.stage(name),)
    arrays = [stage for stage in stages if stage.size > 1 and stage.job_id]
    if arrays and index is None:
        raise Problem(
            f"{', '.join(stage.name for stage in arrays)}: {arrays[0].size} parts, each with a log of its own.",
            f"Name one: splatworks logs {run.id} {arrays[0].name} --index 0",
        )
    if index is not None:
        stages = tuple(_child(platform, stage, index) for stage in stages)
    return [(stage.name, stream) for stage in stages for stream in stage.log_streams]


def _child(platform: Platform, stage: StageStatus, index: int) -> StageStatus:
    if not 0 <= index < stage.size or stage.size == 1:
        allowed = f"0 to {stage.size - 1}" if stage.size > 1 else "none, for it is no array"
        raise Problem(f"{stage.name} has no part {index}.", f"There is {allowed}.")
    return array_child(platform, stage, index)


class _Reader:
    """Remembers how far each stream was read."""

    def __init__(self, platform: Platform) -> None:
        self._logs = platform.client("logs")
        self._group = platform.job_log_group
        self._tokens: dict[str, str] = {}
        self._last = time.monotonic()
        self.lines = 0

    @property
    def quiet_for(self) -> float:
        return time.monotonic() - self._last

    def new_lines(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            try:
                answer = self._logs.get_log_events(
                    logGroupName=self._group, logStreamName=stream, startFromHead=True, **more
                )
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                return  # the container has printed nothing yet
            for event in answer["events"]:
                self.lines += 1
                self._last = time.monotonic()
                yield visible(event["message"])
            self._tokens[stream] = answer["nextForwardToken"]
            if answer["nextForwardToken"] == token:
                return


def visible(line: str) -> str:
    """Without what would steer the terminal of whoever reads it."""
    last = line.rstrip("\r\n").rsplit("\r", 1)[-1]
    return "".join(character if character.isprintable() or character == "\t" else " " for character in last)
