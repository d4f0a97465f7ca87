"""The palette of harmonics: exact where it can be, and as good as plain k-means where it cannot."""

import numpy as np
import pytest

from splatkit.compress.palette import by_first_appearance, distinct_rows, palette_of

pytestmark = pytest.mark.quality


def clustered(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    centres = draw.normal(0, 1, (count // 20, dimensions))
    return (centres[draw.integers(0, len(centres), count)] + draw.normal(0, 0.2, (count, dimensions))).astype(
        np.float32
    )


def kmeans_error(vectors: np.ndarray, entries: int, steps: int = 10) -> float:
    """Plain Lloyd from random vectors, as encoders commonly do it."""
    palette = vectors[np.random.default_rng(1).choice(len(vectors), entries, replace=False)].astype(np.float64)
    for _ in range(steps):
        labels = ((vectors**2).sum(1)[:, None] - 2 * vectors @ palette.T + (palette**2).sum(1)).argmin(1)
        counts = np.bincount(labels, minlength=entries)
        sums = np.stack([np.bincount(labels, column, entries) for column in vectors.T], 1)
        palette = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], palette)
    return float(((palette[labels] - vectors) ** 2).mean())


def test_the_error_is_no_larger_than_that_of_ten_steps_of_plain_kmeans() -> None:
    vectors = clustered(8000, 9)
    palette, labels = palette_of(vectors, 1024)
    assert len(palette) <= 1024
    assert ((palette[labels] - vectors) ** 2).mean() <= kmeans_error(vectors, 1024)


def test_vectors_that_repeat_are_kept_exactly() -> None:
    kinds = clustered(300, 24)
    vectors = kinds[np.random.default_rng(0).integers(0, 300, 5000)]
    palette, labels = palette_of(vectors, 1024)
    assert len(palette) == 300
    np.testing.assert_array_equal(palette[labels], vectors)


def test_all_alike_and_fewer_than_entries_do_not_trip_it() -> None:
    for vectors in (np.ones((50, 9), np.float32), clustered(40, 9), np.zeros((1, 45), np.float32)):
        palette, labels = palette_of(vectors, 64)
        np.testing.assert_array_equal(palette[labels], vectors)


def test_many_copies_of_few_vectors_beside_many_single_ones_still_split() -> None:
    vectors = np.concatenate([np.zeros((4000, 9), np.float32), clustered(2000, 9)])
    palette, labels = palette_of(vectors, 256)
    assert len(palette) <= 256
    assert ((palette[labels] - vectors) ** 2).mean() < 0.3 * vectors.var()


def test_distinct_rows_tells_rows_apart_by_every_bit_but_the_sign_of_zero() -> None:
    rows = np.array([[0, 1], [0, np.nextafter(np.float32(1), np.float32(2))], [-0.0, 1], [1, 0]], np.float32)
    first, kinds = distinct_rows(rows)
    assert len(first) == 3
    assert kinds[0] == kinds[2] != kinds[1] != kinds[3]


def test_labels_by_first_appearance_count_upwards_and_name_the_same_entries() -> None:
    labels = np.array([7, 7, 2, 9, 2, 0])
    order, renamed = by_first_appearance(labels, 10)
    np.testing.assert_array_equal(order[renamed], labels)
    assert renamed.tolist() == [0, 0, 1, 2, 1, 3]
