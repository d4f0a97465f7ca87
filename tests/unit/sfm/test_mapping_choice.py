"""Which mapper is tried and which model is taken, with models that are made up."""

from pathlib import Path

import pycolmap
import pytest
from sfm import SfmOptions

from splatkit.sfm import mapping
from splatkit.sfm.mapping import Model
from splatkit.sfm.matching import Graph
from splatkit.sfm.steps import SfmRun, build_model
from splatkit.stage import Progress

PHOTOS = 10


def made_up(method: str, placed: int, focal: float) -> Model:
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=placed)
    model = pycolmap.synthesize_dataset(options)
    for camera in model.cameras.values():
        camera.focal_length = focal
    return Model(method, model, ())


def chosen(
    outcomes: dict[str, Model], exif: float, work: Path, monkeypatch: pytest.MonkeyPatch, max_focal_drift: float = 1.6
) -> tuple[Model, list[str]]:
    """The model that is taken, and the mappers that ran. exif: the focal length that it tells of all photos."""
    ran = []

    def fake(method: str, *_: object, folder: str = "") -> Model | None:
        ran.append(folder or method)
        return None if folder else outcomes[method]

    monkeypatch.setattr(mapping, "_map", fake)
    options = SfmOptions(input_dir=work, output_dir=work, max_focal_drift=max_focal_drift)
    run = SfmRun(options, work, Progress("sfm", work, {"mapping": 1}), work / "log")
    names = {name for model in outcomes.values() for name in model.registered}
    graph = Graph(0, [], [list(range(PHOTOS))])
    return build_model(run, [], graph, dict.fromkeys(names, exif)), ran


def test_a_model_that_exif_contradicts_gives_way_to_one_of_fewer_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {"global": made_up("global", PHOTOS, 1000), "incremental": made_up("incremental", 6, 4000)}
    model, ran = chosen(outcomes, 5000, tmp_path, monkeypatch)
    assert model.method == "incremental" and ran == ["global", "incremental", "grown"]


def test_whoever_raises_max_focal_drift_gets_the_model_that_exif_contradicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"global": made_up("global", PHOTOS, 1000), "incremental": made_up("incremental", 6, 4000)}
    model, ran = chosen(whole, 5000, tmp_path, monkeypatch, max_focal_drift=6)
    assert model.method == "global" and ran == ["global"]

    partial = {"global": made_up("global", 8, 1000), "incremental": made_up("incremental", 6, 4000)}
    model, ran = chosen(partial, 5000, tmp_path, monkeypatch, max_focal_drift=6)
    assert model.method == "global" and ran == ["global", "incremental", "grown"]


def test_whoever_lowers_max_focal_drift_has_the_other_mapper_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {"global": made_up("global", PHOTOS, 1000), "incremental": made_up("incremental", PHOTOS, 1250)}
    model, ran = chosen(outcomes, 1300, tmp_path, monkeypatch, max_focal_drift=1.1)
    assert model.method == "incremental" and ran == ["global", "incremental"]
