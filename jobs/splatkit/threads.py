"""Spreads compiled kernels over the cores: a pool of threads, since the kernels release the interpreter lock.

Not numba's prange: its compilation takes seconds per kernel, and one of its threading layers breaks when two threads
call it.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from splatworks.contract.environment import VCPUS

CHUNKS_PER_THREAD = 8  # small enough pieces that no core waits long for another at the end


_limit = [0]


def cores() -> int:
    """What this process may use, which in a container is less than what the machine has."""
    available = len(os.sched_getaffinity(0))
    if (reserved := os.environ.get(VCPUS, "")).isdecimal() and int(reserved):
        available = min(available, int(reserved))
    return min(available, _limit[0]) if _limit[0] else available


def limit_cores(count: int) -> None:
    """Use at most so many; 0: all. To be called before the first kernel."""
    _limit[0] = count


def in_parallel(count: int, kernel: Callable[..., None], *arguments: object) -> None:
    """Calls kernel(first, last, *arguments) on ranges that cover 0..count; it must write disjoint places per index."""
    pieces = min(count, cores() * CHUNKS_PER_THREAD)
    if pieces <= 1 or cores() == 1:
        kernel(0, count, *arguments)
        return
    edges = [count * i // pieces for i in range(pieces + 1)]
    work = [_pool().submit(kernel, edges[i], edges[i + 1], *arguments) for i in range(pieces)]
    for piece in work:
        piece.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="kernel")
