"""The cache of photos: how much memory it counts on, what it decodes, what it keeps."""

from pathlib import Path

import pytest

from splatkit.train.photo_cache import LEAST_FREE, free_memory

MIB = 1 << 20


def make_cgroup(folder: Path, version: int, limit: str, used: int, cached: int, dirty: int = 0) -> Path:
    """As the kernel shows it; cached: of the page cache, half of it active."""
    within = folder if version == 2 else folder / "memory"
    within.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (within / names[0]).write_text(f"{limit}\n")
    (within / names[1]).write_text(f"{used}\n")
    total = "" if version == 2 else "total_"
    stat = [f"{total}anon 1", f"{total}inactive_file {cached // 2}", f"{total}active_file {cached - cached // 2}"]
    stat += [f"slab_reclaimable {dirty}"] if version == 2 else [f"inactive_file {7 * MIB}"]  # of this group alone
    (within / "memory.stat").write_text("\n".join(stat) + "\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_the_page_cache_of_a_container_is_free_memory(version: int, tmp_path: Path) -> None:
    limit = 1000 * MIB
    group = make_cgroup(tmp_path, version, str(limit), used=990 * MIB, cached=600 * MIB)
    assert free_memory(group) == 610 * MIB
    (group / ("" if version == 2 else "memory") / "memory.stat").unlink()
    assert free_memory(group) == LEAST_FREE, "without the kernel's word on it all of the use is taken for used"


def test_reclaimable_slabs_are_free_and_no_more_than_the_limit_is(tmp_path: Path) -> None:
    group = make_cgroup(tmp_path, 2, str(1000 * MIB), used=500 * MIB, cached=100 * MIB, dirty=50 * MIB)
    assert free_memory(group) == 650 * MIB
    group = make_cgroup(tmp_path, 2, str(1000 * MIB), used=500 * MIB, cached=600 * MIB)
    assert free_memory(group) == 1000 * MIB


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, "9223372036854771712")])
def test_a_group_without_a_limit_leaves_the_machines_memory(version: int, limit: str, tmp_path: Path) -> None:
    alone = free_memory(tmp_path / "none")
    group = make_cgroup(tmp_path, version, limit, used=990 * MIB, cached=0)
    assert alone > LEAST_FREE and abs(free_memory(group) - alone) < 0.5 * alone
