"""Measure the memory of a process and all its descendants, as a container's limit counts it."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")
# Memory that the kernel cannot reclaim: anonymous and shared, shared pages by share. Mapped files are cache.
COUNTED = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)


def process_tree_mib(root: int) -> float:
    """Return the memory in MiB; 0 on a machine without /proc."""
    return sum(_kib(pid) for pid in descendants(root)) / 1024


def descendants(root: int) -> set[int]:
    """Return `root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, [])
    return found


def _parents() -> dict[int, int]:
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            # The command, in parentheses, may hold spaces and parentheses itself.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
    return parents


def _kib(pid: int) -> int:
    try:
        return sum(int(kib) for kib in COUNTED.findall((PROC / str(pid) / "smaps_rollup").read_text()))
    except OSError:
        return 0
