"""Starts the ranks of a training as processes of their own, and answers for them: none outlives the others."""

import ctypes
import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from splatkit.errors import StageError, StopRequested, input_error
from splatkit.train.backend import choose_device
from splatkit.train.options import TrainOptions
from splatkit.train.ranks import Ranks
from splatworks.contract.exit_codes import ExitCode

SAVE_WITHIN = 80.0  # seconds from SIGTERM; the platform gives 95
CAUSE_WITHIN = 3.0  # seconds after the first bad news, for what may have caused it
PR_SET_PDEATHSIG = 1
GOOD = ("done", "interrupted")
WEIGHTS = ("stage_error", "gpu_full", "died", "bug", *reversed(GOOD))

Report = tuple[str, dict[str, Any]]


class GpuFullError(Exception):
    """CUDA ran out of memory with so many Gaussians in all."""

    def __init__(self, gaussians: int) -> None:
        super().__init__(f"the GPU's memory is full with {gaussians} Gaussians")
        self.gaussians = gaussians


@dataclass
class _Child:
    rank: int
    process: BaseProcess
    reports: Connection
    report: Report | None = None
    reported_at: float = 0.0


def gpus_to_use(options: TrainOptions) -> int:
    """How many processes train. Raises StageError for more than there are, and where another option forbids it."""
    on_cpu = choose_device(options.device) == "cpu"
    seen = torch.cuda.device_count()
    count = options.gpus or (1 if on_cpu else max(1, seen))
    if not on_cpu and count > seen > 0:
        fix = f"Give --gpus 0 for all that are there, or send the job with gpus: {count}."
        raise input_error("too_few_gpus", f"gpus is {count}, but {seen} can be seen", fix)
    if count > 1 and options.absgrad:
        fix = "Give --gpus 1, or leave absgrad out and lower grow_gradient."
        raise input_error("bad_option", "absgrad is true, which gsplat cannot do on several GPUs", fix)
    if count > 1 and on_cpu and options.strategy != "mcmc":
        cause = f"strategy is {options.strategy} with gpus {count} on a CPU; allowed is mcmc there"
        raise input_error("bad_option", cause, "Give --gpus 1: several processes on a CPU only try out what GPUs do.")
    return count


def in_ranks(count: int, work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What work(ranks, rendezvous, *arguments) returns on the first of `count` processes.

    Raises what the first failing one raised, or StageError(rank_died) for one that ended without a word. SIGTERM goes
    on to all of them, which then have time to save.
    """
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        children = _start(count, work, str(Path(folder) / "rendezvous"), arguments)
        try:
            _await(children, float("inf"))
        except (StopRequested, KeyboardInterrupt):
            for child in children:
                child.process.terminate()
            _await(children, SAVE_WITHIN)
            raise
        finally:
            _end(children)
        return _outcome(children)


def _start(count: int, work: Callable[..., Any], rendezvous: str, arguments: tuple[Any, ...]) -> list[_Child]:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    children = []
    for rank in range(count):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_be_rank, args=(sender, Ranks(rank, count), work, rendezvous, arguments))
        process.start()
        sender.close()
        children.append(_Child(rank, process, receiver))
    return children


def _await(children: list[_Child], seconds: float) -> None:
    """Until all have reported, or one badly: the others wait for it in vain."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and (busy := [c for c in children if not c.report]):
        wait([child.reports for child in busy], timeout=min(left, 60.0))
        for child in busy:
            if child.reports.poll():
                child.report, child.reported_at = _received(child), time.monotonic()
                if child.report[0] not in GOOD:  # what others say of it a moment later is no news, but may be the cause
                    deadline = min(deadline, time.monotonic() + CAUSE_WITHIN)


def _received(child: _Child) -> Report:
    try:
        report: Report = child.reports.recv()
        return report
    except EOFError:
        child.process.join(5)
        return "died", {"code": child.process.exitcode}


def _end(children: list[_Child]) -> None:
    for child in children:
        child.process.join(5 if child.report and child.report[0] in GOOD else 0)
        child.process.kill()  # SIGTERM would only ask it to save, together with one that is gone
        child.process.join()
        child.reports.close()


def _outcome(children: list[_Child]) -> dict[str, Any]:
    """By weight: a rank that fails makes the others fail, of a broken connection."""
    said = sorted((WEIGHTS.index(c.report[0]), c.reported_at, c.rank, *c.report) for c in children if c.report)
    for _, _, rank, kind, content in said:
        if kind == "stage_error":
            raise StageError(**content)
        if kind == "gpu_full":
            raise GpuFullError(**content)
        if kind == "died":
            raise _died(rank, len(children), content["code"] or 0)
        if kind == "bug":
            raise RuntimeError(content["text"])
        if kind == "interrupted":
            raise StopRequested
    return next(dict(content) for _, _, rank, _, content in said if rank == 0)


def _died(rank: int, count: int, code: int) -> StageError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    cause = f"process {rank + 1} of {count}, one per GPU, {how}"
    if code == -signal.SIGKILL:  # by the kernel, for want of memory: the next attempt would have no more of it
        return StageError(
            "rank_died", cause, "Give the job more memory, then run it again: it goes on from the checkpoint."
        )
    fix = "Run the same command again: it goes on from the last checkpoint."
    return StageError("rank_died", cause, fix, exit_code=ExitCode.INTERRUPTED, retryable=True)


def _be_rank(
    reports: Connection, ranks: Ranks, work: Callable[..., dict[str, Any]], rendezvous: str, arguments: tuple[Any, ...]
) -> None:
    """The main function of a rank's process."""
    if sys.platform == "linux":  # a stage that is killed must not leave processes behind that keep the GPUs
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        reports.send(("done", work(ranks, rendezvous, *arguments)))
    except (StopRequested, KeyboardInterrupt):
        reports.send(("interrupted", {}))
    except StageError as problem:
        reports.send(("stage_error", problem.arguments))
    except GpuFullError as problem:
        reports.send(("gpu_full", {"gaussians": problem.gaussians}))
    except Exception:
        reports.send(("bug", {"text": f"in process {ranks.rank + 1} of {ranks.count}:\n{traceback.format_exc()}"}))


def _interrupt(_signal: int, _frame: Any) -> None:
    raise StopRequested
