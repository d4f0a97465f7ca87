"""Scenes for the tests: made ones, and the real ones where they lie beside the checkout."""

from pathlib import Path

import pytest
from sample_splats import ball

from splatkit.splats import Splats

REAL = Path(__file__).parents[4] / "shared" / "data" / "splats"


@pytest.fixture(scope="session")
def scene() -> Splats:
    return ball(6000)


@pytest.fixture(scope="session")
def shiny_scene() -> Splats:
    return ball(5000, degree=3)


@pytest.fixture(scope="session")
def real_splats() -> Path:
    """Real captures, which are too large for the repository."""
    if not REAL.is_dir():
        pytest.skip("the real splats are not beside the checkout (../shared/data/splats)")
    return REAL
