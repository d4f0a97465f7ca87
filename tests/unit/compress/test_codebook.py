"""Codebooks against exhaustive search, and their indices against plain nearest neighbours."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatkit.compress.codebook import best_codebook, indices_of, stepped_codebook


def squared_error(values: np.ndarray, codebook: np.ndarray) -> float:
    return float(((values[:, None] - codebook[None].astype(float)) ** 2).min(axis=1).sum())


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(-100, 100, width=32), min_size=5, max_size=9, unique=True))
def test_no_partition_of_a_few_values_is_better(values: list[float]) -> None:
    ordered = np.sort(np.array(values, np.float32))
    found = squared_error(ordered, best_codebook(ordered, 3))
    parts = [np.split(ordered, cuts) for cuts in combinations(range(1, len(ordered)), 2)]
    least = min(squared_error(ordered, np.array([part.mean(dtype=float) for part in cut])) for cut in parts)
    assert found <= least * (1 + 1e-4) + 1e-4


@pytest.mark.quality
def test_a_long_tail_does_not_cost_the_dense_middle_its_precision() -> None:
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(0, 1, 50_000), [500.0, -800.0]]).astype(np.float32)
    codebook = best_codebook(values, 256)
    error = np.abs(codebook[indices_of(values, codebook)] - values)
    assert np.sqrt((error**2).mean()) < 0.012  # the optimum for a normal distribution is 0.0105
    assert error[-2:].max() < 1e-3


def test_up_to_256_distinct_values_are_kept_exactly() -> None:
    values = np.random.default_rng(0).choice(np.linspace(-3, 3, 256).astype(np.float32), 10_000)
    codebook = best_codebook(values, 256)
    np.testing.assert_array_equal(codebook[indices_of(values, codebook)], values)


@pytest.mark.parametrize("step", [0.05, 0.3, 2.0])
def test_steps_err_by_no_more_than_a_step_and_less_than_uniform_rounding_on_average(step: float) -> None:
    values = np.random.default_rng(0).normal(0, 1, (3000, 3)).astype(np.float32)
    codebook = stepped_codebook(values, step)
    error = codebook[indices_of(values, codebook)] - values
    assert len(codebook) <= 256
    assert np.abs(error).max() < step
    assert (error**2).mean() <= step**2 / 12 * 1.02


def test_a_step_too_fine_for_256_values_falls_back_to_the_best_256() -> None:
    values = np.random.default_rng(0).normal(0, 1, 20_000).astype(np.float32)
    np.testing.assert_array_equal(stepped_codebook(values, 1e-9), best_codebook(values, 256))
    np.testing.assert_array_equal(stepped_codebook(values, 1e-3), best_codebook(values, 256))


def test_one_value_needs_one_entry() -> None:
    values = np.full(10, 0.25, np.float32)
    assert best_codebook(values, 256).tolist() == stepped_codebook(values, 0.1).tolist() == [0.25]
