"""Levels of detail: what merging keeps, and the index of the files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_splats import ball

from splatkit.compress import lod_files
from splatkit.compress.levels import levels_of_detail, merged
from splatkit.compress.lod_files import read_level, write_levels
from splatkit.compress.quality import Judge
from splatkit.compress.sog_encoder import Precision
from splatkit.formats.paletted import own_palette
from splatkit.formats.spool import release, spooled, taken
from splatkit.splats import Splats
from splatkit.view.shots import framing, ring

pytestmark = pytest.mark.quality


def test_merging_looks_better_than_dropping_at_random(shiny_scene: Splats) -> None:
    judge = Judge(shiny_scene, ring(framing(shiny_scene), 3, 160, 120), lambda done, total: None)
    count = len(shiny_scene) // 3
    dropped = shiny_scene.take(np.random.default_rng(0).choice(len(shiny_scene), count, replace=False))
    half = merged(shiny_scene, count)
    assert len(half) == count
    seen, random = (judge.compare(own_palette(splats)).summary["psnr"] for splats in (half, dropped))
    assert seen > random + 2  # 31.7 and 20.7 dB


def test_harmonics_merge_by_the_share_of_each(shiny_scene: Splats) -> None:
    everything = merged(shiny_scene, 1)
    low, high = shiny_scene.shN.min(axis=0), shiny_scene.shN.max(axis=0)
    assert len(everything) == 1
    assert (low <= everything.shN[0]).all() and (everything.shN[0] <= high).all()
    alike = shiny_scene.shN * 0 + np.float32(0.25)
    same = merged(Splats(**{**vars_of(shiny_scene), "shN": alike}), 100)
    np.testing.assert_allclose(same.shN, 0.25, rtol=1e-4)  # shares add up to one through all passes


def vars_of(splats: Splats) -> dict[str, np.ndarray]:
    return {name: getattr(splats, name) for name in Splats.ARRAYS}


def test_every_splat_of_each_level_lies_in_one_leaf_and_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lod_files, "LEAF_SPLATS", 300)
    monkeypatch.setattr(lod_files, "FILE_SPLATS", 900)
    scene = ball(4000)
    # Discs that hardly show, and that as one show less still: the cheapest to merge, and invisible then.
    faint = np.where(np.arange(4000) % 3 == 0, np.float32(-5.4), scene.opacities).astype(np.float32)
    levels = levels_of_detail(replace(scene, opacities=faint), 3)
    written = write_levels(tmp_path / "lod", levels, Precision(), lambda number: None)
    meta = json.loads((tmp_path / "lod" / "lod-meta.json").read_text())
    counts = [level["splats"] for level in written]
    assert counts == meta["counts"] and counts[0] == 4000 and 1000 < counts[1] < 2000 and 500 < counts[2] < 1000
    leaves, found = [meta["tree"]], {name: [] for name in meta["filenames"]}  # type: ignore[var-annotated]
    while any("children" in leaf for leaf in leaves):
        leaves = [child for leaf in leaves for child in leaf.get("children", [leaf])]
    assert len(leaves) >= 4000 / 300
    for leaf in leaves:
        for level, lod in leaf["lods"].items():
            name = meta["filenames"][lod["file"]]
            assert name.startswith(f"{level}_")
            found[name].append((lod["offset"], lod["offset"] + lod["count"]))
            splats = lod_files.open_sog(tmp_path / "lod" / name).splats
            inside = splats.means[lod["offset"] : lod["offset"] + lod["count"]]
            assert (inside >= np.array(leaf["bound"]["min"]) - 1e-3).all()
            assert (inside <= np.array(leaf["bound"]["max"]) + 1e-3).all()
    for name, ranges in found.items():
        ends = [0, *(end for _, end in sorted(ranges))]
        assert [start for start, _ in sorted(ranges)] == ends[:-1]  # without gaps
        assert ends[-1] == len(lod_files.open_sog(tmp_path / "lod" / name).splats)
    assert len(read_level(tmp_path / "lod", 1)) == counts[1]


def test_splats_in_one_place_do_not_split_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lod_files, "LEAF_SPLATS", 10)
    splats = ball(1000)
    heap = Splats(**{**vars_of(splats), "means": np.ones_like(splats.means)})
    write_levels(tmp_path / "lod", [heap], Precision(), lambda number: None)
    assert "lods" in json.loads((tmp_path / "lod" / "lod-meta.json").read_text())["tree"]


def test_spooled_harmonics_are_the_same_before_and_after_their_memory_was_given_back(
    tmp_path: Path, shiny_scene: Splats
) -> None:
    splats = spooled(shiny_scene, tmp_path / "harmonics")
    np.testing.assert_array_equal(splats.shN, shiny_scene.shN)
    release(splats.with_sh_degree(2).shN)
    release(shiny_scene.shN)  # nothing to give back there
    np.testing.assert_array_equal(splats.shN, shiny_scene.shN)
    rows = np.random.default_rng(0).permutation(len(splats))[:1234]
    np.testing.assert_array_equal(taken(splats, rows).shN, shiny_scene.shN[rows])
    np.testing.assert_array_equal(taken(splats, rows).means, shiny_scene.means[rows])
    assert splats.shN.base is not None and (tmp_path / "harmonics").stat().st_size == shiny_scene.shN.nbytes
