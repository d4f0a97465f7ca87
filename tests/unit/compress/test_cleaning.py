"""Broken splats: finite numbers are enough of a fault where no file could hold them and no picture show them."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import compress
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sample_splats import ball

from splatkit.compress.cleaning import without_broken
from splatkit.compress.codebook import stepped_codebook
from splatkit.compress.quality import attribute_errors
from splatkit.compress.sog_encoder import Encoded, Precision, bulk_variance, encode_sog
from splatkit.formats.paletted import Paletted
from splatkit.formats.ply import write_ply
from splatkit.splats import Splats
from splatworks.contract.exit_codes import ExitCode

ABSURD = [
    ("means", 1e13), ("means", -1e30), ("scales", 30.0), ("quats", 1e13),
    ("quats", 1e30), ("quats", 0.0), ("quats", 1e-20), ("sh0", 1e4), ("sh0", -1e30), ("shN", 1e4), ("shN", -1e20),
]  # fmt: skip


def with_value(splats: Splats, name: str, value: float, rows: Any = slice(0, 1)) -> Splats:
    values = getattr(splats, name).copy()
    values[rows] = value
    return replace(splats, **{name: values})


@pytest.mark.parametrize(("name", "value"), ABSURD)
def test_what_no_training_means_is_dropped_and_counted_though_it_is_finite(name: str, value: float) -> None:
    cleaned = without_broken(with_value(ball(100, degree=1), name, value, slice(3, 5)))
    assert cleaned.dropped == {"broken": 2} and len(cleaned.splats) == 98


def test_a_disc_without_thickness_is_drawn_as_thin_as_can_be() -> None:
    flat = without_broken(with_value(ball(100), "scales", -100.0, (slice(None), 2)))
    assert flat.dropped == {} and flat.splats.scales[:, 2].max() == -85
    infinite = without_broken(with_value(ball(100), "scales", -np.inf, slice(3, 5)))
    assert infinite.dropped == {"broken": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [("means", 1e11), ("scales", 27.0), ("scales", -80.0), ("quats", 1e-11), ("quats", 1e11), ("sh0", 900.0),
     ("shN", -900.0), ("opacities", -1e38), ("opacities", 1e38)],
)  # fmt: skip
def test_one_that_is_far_out_but_can_be_held_does_the_others_no_harm(name: str, value: float) -> None:
    splats = ball(2100, degree=1)
    odd = with_value(splats, name, value)
    kept = without_broken(odd)
    assert kept.dropped == {}
    rest = np.arange(1, len(splats))
    plain, beside = (encode_sog(each, Precision()) for each in (splats, kept.splats))
    errors = []
    for encoded in (plain, beside):
        places = np.argsort(encoded.order)[rest]
        errors.append(attribute_errors(encoded.source.take(rest), np.arange(len(rest)), part_of(encoded, places)))
    for attribute, error in errors[0].items():
        assert errors[1][attribute]["rmse"] < 1.5 * error["rmse"] + 1e-3, attribute


def part_of(encoded: Encoded, places: Any) -> Paletted:
    """What comes out of the file, of these places in it."""
    result = encoded.files.decode()
    return Paletted(result.splats.take(places), result.palette, result.labels[places])


def test_a_few_harmonics_far_out_do_not_coarsen_all_others() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(0, 0.1, (5000, 9)).astype(np.float32)
    assert bulk_variance(values) == pytest.approx(0.01, rel=0.05)
    values[:3, 0] = 900
    assert bulk_variance(values) == pytest.approx(0.01, rel=0.05)
    mostly_none = np.zeros((5000, 9), np.float32)
    mostly_none[:10] = 0.5
    assert bulk_variance(mostly_none) == pytest.approx(float(mostly_none.var()), rel=1e-6)


@pytest.mark.parametrize("values", [[1e-40, 0], [0, 900], [-1000, 1000, 1e-30], [1e-45], [3e38, -3e38]])
@pytest.mark.parametrize("step", [1e-46, 1e-30, 1e-3, 1e30])
def test_no_step_is_too_fine_or_too_wide_for_a_codebook(values: list[float], step: float) -> None:
    codebook = stepped_codebook(np.array(values, np.float32), step)
    assert np.isfinite(codebook).all() and 1 <= len(codebook) <= len(values)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MAGNITUDES = st.builds(
    lambda power, sign: float(np.float32(sign * 10.0**power)), st.floats(-44, 38), st.sampled_from([-1, 1])
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(Splats.ARRAYS),
        st.one_of(MAGNITUDES, FINITE, st.sampled_from([0.0, -0.0])),
        st.sampled_from(["one", "few", "half", "all", "drawn"]),
    ),
    min_size=1,
    max_size=4,
)


def changed(splats: Splats, name: str, value: float, which: str) -> Splats:
    """One value everywhere in some rows of an attribute, or a scale that its values are multiplied by."""
    if which == "drawn":
        with np.errstate(over="ignore"):
            scaled = np.nan_to_num(getattr(splats, name) * np.float32(value))
        return replace(splats, **{name: scaled})
    count = {"one": 1, "few": len(splats) // 25, "half": len(splats) // 2, "all": len(splats)}[which]
    return with_value(splats, name, value, slice(0, count))


@pytest.fixture(autouse=True)
def stand_in_viewer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("splatkit.view.viewer_page.VIEWER", Path(__file__).with_name("stand_in_viewer.json"))
    yield


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    changes=CHANGES,
    count=st.sampled_from([1, 2, 60]),
    degree=st.integers(0, 1),
    options=st.sampled_from([(), ("--prune",), ("--target-mb", "0.006"), ("--up", "z")]),
)
@example(changes=[("means", 1e30, "one")], count=60, degree=0, options=())
@example(changes=[("quats", 0.0, "few")], count=60, degree=0, options=())
@example(changes=[("sh0", 1e30, "one")], count=60, degree=0, options=())
@example(changes=[("scales", -1e30, "one")], count=60, degree=0, options=())
@example(changes=[("shN", 1e20, "one")], count=60, degree=1, options=())
def test_any_finite_splat_ends_in_a_scene_or_in_words_and_never_in_a_traceback(
    changes: list[tuple[str, float, str]], count: int, degree: int, options: tuple[str, ...]
) -> None:
    splats = ball(count, degree)
    for change in changes:
        splats = changed(splats, *change)
    with tempfile.TemporaryDirectory() as folder:
        write_ply(Path(folder) / "splat.ply", splats)
        quick = ("--turntable-frames", "1", "--views", "1", "--view-size", "64", "--levels", "2")
        folders = ("--input-dir", folder, "--output-dir", f"{folder}/out")
        code = compress.main([*folders, *quick, *options])
        result = json.loads((Path(folder) / "out" / "result.json").read_text())
        assert code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.INPUT_ERROR)
        assert (result["error"] or {}).get("code") not in ("bug", "file_error")
        if code == ExitCode.DONE:
            assert (Path(folder) / "out" / "scene.sog").is_file() and result["metrics"]["splats"] >= 1
