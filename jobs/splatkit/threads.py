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
    """Number of cores for this process: those it may run on, at most the job's vCPUs and those of limit_cores.

    Each thread pool, library and child process of a stage takes its number of threads from here. os.cpu_count() and a
    library's own default count the cores of the host, which a job shares with others.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    reserved = os.environ.get(VCPUS, "")
    limits = (int(reserved) if reserved.isdecimal() else 0, _limit[0])
    return min([available, *filter(None, limits)])


def limit_cores(count: int) -> None:
    """Use at most `count` cores; 0 removes the limit. Call it before the first kernel runs."""
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
