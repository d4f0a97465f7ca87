"""Child processes that open the files of strangers: what kills a decoder costs that one file, not the stage.

Forked, so that they start at once with everything imported; the stage has no threads yet when it reads photos.
"""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, TypeVar

from splatkit.sfm.preparation import UnusableError

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[[int, int], None]  # done and total within one item

SILENCE = 300.0  # seconds; a decoder that neither ends nor says how far it is for so long is stopped
MIN_MEMORY = 2 * 2**30  # bytes for each worker; where the machine has less, fewer work at a time
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FORK = multiprocessing.get_context("fork")


def run_apart(
    task: Callable[[Item, Tell], Result], items: Sequence[Item], workers: int, heard: Callable[[int, int, int], None]
) -> Iterator[tuple[int, Result | UnusableError]]:
    """Yields the number of each item with its result, or with why there is none, as they come.

    What else than UnusableError `task` raises is raised here. heard(number, done, total): what a task tells meanwhile.
    """
    memory = usable_memory()
    count = max(1, min(workers, len(items), memory // MIN_MEMORY))
    crew: list[_Worker[Item, Result]] = []
    numbers = iter(range(len(items)))
    try:
        for number in list(range(len(items)))[:count]:
            next(numbers)
            crew.append(_Worker(task, memory // count, [worker.pipe for worker in crew]))
            crew[-1].give(number, items[number])
        while busy := [worker for worker in crew if worker.number is not None]:
            wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                if (outcome := worker.look(heard)) is None:
                    continue
                done, worker.number = worker.number, None
                assert done is not None  # noqa: S101 for the type checker; it was busy
                yield done, outcome
                if (number := next(numbers, -1)) >= 0:
                    if worker.dead:
                        crew.remove(worker)
                        worker = _Worker(task, memory // count, [other.pipe for other in crew])
                        crew.append(worker)
                    worker.give(number, items[number])
    finally:
        for worker in crew:
            worker.end()


class _Worker(Generic[Item, Result]):
    def __init__(self, task: Callable[[Item, Tell], Result], memory: int, foreign: list[Connection]) -> None:
        self.pipe, theirs = FORK.Pipe()
        self.number: int | None = None  # of the item in work
        self.dead, self._heard = False, 0.0
        # Each closes what it inherits of the others' pipes: else none would notice the end of this process.
        self._process = FORK.Process(target=_serve, args=(task, theirs, [*foreign, self.pipe], memory), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, number: int, item: Item) -> None:
        self.number, self._heard = number, time.monotonic()
        with suppress(BrokenPipeError):  # it died; look() will say so
            self.pipe.send(item)

    def look(self, heard: Callable[[int, int, int], None]) -> Result | UnusableError | None:
        """The outcome of the item in work; None while there is none."""
        assert self.number is not None  # noqa: S101 for the type checker; only the busy are looked at
        while self.pipe.poll():
            try:
                kind, content = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                self.end()
                return UnusableError(self._epitaph())
            self._heard = time.monotonic()
            if kind == "progress":
                heard(self.number, *content)
            elif kind == "raised":
                raise content
            else:
                outcome: Result | UnusableError = content
                return outcome
        if time.monotonic() - self._heard > SILENCE:
            self._process.kill()
            self.end()
            return UnusableError(f"its decoder was stopped: nothing was heard of it for {SILENCE:.0f} seconds")
        return None

    def end(self) -> None:
        self.dead = True
        self.pipe.close()
        self._process.join(0.2)  # the closed pipe ends it, unless a decoder hangs
        self._process.kill()
        self._process.join()

    def _epitaph(self) -> str:
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its decoder was killed by the system, most likely for memory"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its decoder crashed ({name}): the file is damaged, or made to do that"


def _serve(task: Callable[[Item, Tell], Result], pipe: Connection, foreign: list[Connection], memory: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends us
    for connection in foreign:
        connection.close()
    _limit(memory)
    with suppress(EOFError, BrokenPipeError):
        while True:
            pipe.send(_outcome(task, pipe.recv(), lambda done, total: pipe.send(("progress", (done, total))), memory))


def _outcome(task: Callable[[Item, Tell], Result], item: Item, tell: Tell, memory: int) -> tuple[str, object]:
    try:
        return "result", task(item, tell)
    except UnusableError as problem:
        return "result", problem
    except MemoryError:
        return "result", UnusableError(f"opening it takes more than {memory // 2**20} MiB of memory")
    except Exception as problem:
        return "raised", problem


def _limit(memory: int) -> None:
    """A decoder that asks for more than its share is refused, before the system kills the whole stage."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":  # macOS neither tells what a process has nor keeps to this limit
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    own = pages * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = own + memory
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def usable_memory() -> int:
    """Bytes that this process may hope for: half of the container's or the machine's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in map(Path, CGROUPS):
        with suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int(path.read_text()))
    return min(limits) // 2
