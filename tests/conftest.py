"""How the tests are shared out when several run at once, as `make test` has it: `pytest -n auto`."""

import os
from typing import Any

import pytest

# Folders whose tests run in one process, one after the other; of the others, the tests of a file do. Longest first:
# what is not named comes last.
TOGETHER = {
    "tests/flow": "flow",  # one embedded AWS
    # Both compile splatkit's kernels. Numba replaces the files of its cache at once, but not index and code together:
    # of two processes that add variants of a kernel at the same moment one may get the other's code.
    "tests/unit/train": "kernels",
    "tests/unit/compress": "kernels",
    "tests/unit/sfm": "sfm",  # one reconstruction
    "tests/compatibility": "compatibility",  # both dispatchers run once
}
LONGEST_FIRST = tuple(dict.fromkeys(TOGETHER.values()))
MOST = 4  # processes: with more, all wait for the flow tests


def group_of(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file.rpartition("/")[0], file)


@pytest.hookimpl(optionalhook=True)  # so that pytest also runs without xdist
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, as the flow tests wait more than they compute; none beside this one on one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, MOST) if cores > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # in the order of the collection, see below
    return ByGroup(config, log)


@pytest.hookimpl(trylast=True)  # keeps the order that tests/flow/conftest.py gives its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one process the flow tests come last, for what the unit tests find is found sooner."""
    order = {group: number for number, group in enumerate(LONGEST_FIRST)}
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: order.get(group_of(item.nodeid), len(order)))
    else:
        items.sort(key=lambda item: group_of(item.nodeid) == "flow")
