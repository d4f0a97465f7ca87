"""The rendered survey and its reconstruction, made once for all tests here."""

import pytest
from sfm_runs import Run, run_sfm

from local.survey.photos import Survey, render_survey


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return render_survey(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def reconstructed(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_sfm(survey.photos, tmp_path_factory.mktemp("sfm") / "output")
