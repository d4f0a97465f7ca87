"""The search for the best scene within a size: how much of it is used, and what is kept to on the way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sample_splats import ball

from splatkit.compress.curves import morton_order
from splatkit.compress.precision_steps import BYTES_OF_ZIP, STEPS, Attempt, within_size
from splatkit.compress.quality import Judge
from splatkit.compress.sog_encoder import ORDERS, encode_sog
from splatkit.errors import DONE, StageError
from splatkit.formats.ply import write_ply
from splatkit.splats import Splats
from splatkit.view.shots import framing, ring

# Limits of PSNR have room for other CPUs: 0.97 and 0.6 of the size cost 0.9 and 9.9 dB (3 and 15 are allowed).

pytestmark = pytest.mark.quality

Run = Callable[..., tuple[int, dict[str, Any]]]


def judge_of(splats: Splats) -> Judge:
    return Judge(splats, ring(framing(splats), 2, 160, 120), lambda done, total: None)


def least_size(splats: Splats) -> int:
    return encode_sog(splats, STEPS["least"]).files.size + BYTES_OF_ZIP


def within(splats: Splats, most_bytes: int, order: Callable[[Splats], Any] = ORDERS["hilbert"]) -> Attempt:
    return within_size(splats, judge_of(splats), most_bytes, order, lambda text: None)


def test_just_below_the_coarsest_precision_a_few_splats_are_merged_and_not_half_of_them() -> None:
    splats = ball(8000)
    least = least_size(splats)
    whole = within(splats, least)
    assert whole.merged == 0
    for share, most_lost_db in ((0.97, 3), (0.6, 15)):
        attempt = within(splats, int(share * least))
        size = attempt.encoded.files.size + BYTES_OF_ZIP
        assert 0.9 * share * least <= size <= share * least
        assert attempt.merged == 8000 - len(attempt.encoded.order) > 0
        assert attempt.quality.summary["psnr"] > whole.quality.summary["psnr"] - most_lost_db


def test_a_small_scene_is_merged_as_well() -> None:
    splats = ball(1050)
    attempt = within(splats, int(0.9 * least_size(splats)))
    assert 500 <= len(attempt.encoded.order) < 1050


def test_splats_that_nobody_sees_are_no_part_of_the_search() -> None:
    splats = ball(4000)
    splats.opacities[::2] = -9
    most = int(0.8 * least_size(splats))
    tried: list[str] = []
    attempt = within_size(splats, judge_of(splats), most, ORDERS["hilbert"], tried.append)
    assert 0.9 * most <= attempt.encoded.files.size + BYTES_OF_ZIP <= most
    assert len(attempt.encoded.order) > 1200 and sum("merged" in text for text in tried) <= 3


def test_the_order_asked_for_holds_for_merged_splats_too() -> None:
    splats, given = ball(3000), []

    def backwards(part: Splats) -> Any:
        given.append(morton_order(part.means)[::-1])
        return given[-1]

    attempt = within(splats, int(0.7 * least_size(splats)), backwards)
    rows = given[-1]
    seen = attempt.encoded.source.alphas[rows] >= 1 / 255
    np.testing.assert_array_equal(attempt.encoded.order[: attempt.encoded.visible], rows[seen])


def test_a_size_that_leaves_no_scene_is_refused() -> None:
    with pytest.raises(StageError) as refused:
        within(ball(2000), 3000)
    assert refused.value.code == "target_too_small" and "500 of 2,000" in refused.value.cause


def test_a_size_goes_before_the_loss_and_the_truth_about_the_loss_is_told(
    run: Run, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(3000))
    size = ("--levels", "1", "--order", "hilbert", "--target-mb", "0.02")
    code, result = run(*size, "--max-loss-db", "20")
    assert (code, result["metrics"]["held"]) == (DONE, True)
    assert "goes before" not in capsys.readouterr().out
    lost = result["metrics"]["loss_db"]
    code, result = run(*size, "--max-loss-db", str(lost / 2))
    assert (code, result["metrics"]["held"], result["metrics"]["loss_db"]) == (DONE, False, lost)
    assert f"{lost:.3f} dB are lost" in capsys.readouterr().out
