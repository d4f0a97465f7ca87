"""The decisions of sfm.py one by one: pairs, cameras, frames, gates."""

import tracemalloc
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sfm import SfmOptions

from splatkit.sfm import matching
from splatkit.sfm.cameras import camera_groups, focal_prior
from splatkit.sfm.colmap_steps import CONTRASTS, _contrasts, _worth_it
from splatkit.sfm.exif import ExifFacts, Position, read_exif
from splatkit.sfm.gates import Gate, _at_least, _at_most, judge
from splatkit.sfm.geometry_facts import focal_drift
from splatkit.sfm.georeference import (
    Georeference,
    _unfit,
    georeference,
    local_positions,
    robust_similarity,
    up_beside_line,
    up_direction,
)
from splatkit.sfm.mapping import Model, largest_model
from splatkit.sfm.matching import (
    Graph,
    components,
    plan_pairs,
    repair_pairs,
    sequential_pairs,
    spatial_pairs,
    tried_enough,
)
from splatkit.sfm.photos import Photo


def photo(name: str, *, size: tuple[int, int] = (1600, 900), device: str = "DJI", focal: float | None = 24.0) -> Photo:
    return Photo(name, name, *size, ExifFacts(device, 4.5, focal, None), name)


def grid(side: int) -> np.ndarray:
    return np.array([(20.0 * x, 30.0 * y, 80.0) for y in range(side) for x in range(side)])


# Matching


def test_small_sets_compare_all_pairs() -> None:
    plan = plan_pairs("auto", None, 12, 16, 10)
    assert plan.method == "exhaustive" and plan.pairs == list(combinations(range(12), 2))


def test_gps_makes_large_sets_spatial_and_their_cost_linear() -> None:
    pairs = {side: len(plan_pairs("auto", grid(side), side * side, 16, 10).pairs) for side in (10, 14)}
    assert plan_pairs("auto", grid(10), 100, 16, 10).method == "spatial"
    assert pairs[14] / pairs[10] < 1.15 * 196 / 100
    assert pairs[10] <= 16 * 100


def test_spatial_pairs_are_the_nearest_ones() -> None:
    line = np.array([(float(10 * i), 0.0, 0.0) for i in range(5)])
    assert spatial_pairs(line, 1, 1) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_photos_without_a_place_follow_the_order() -> None:
    places = np.array([(0.0, 0, 0), (np.nan, np.nan, np.nan), (1.0, 0, 0), (900.0, 0, 0)])
    assert {(0, 1), (1, 2)} <= set(spatial_pairs(places, 1, 1))


def test_large_sets_without_gps_follow_their_order() -> None:
    plan = plan_pairs("auto", None, 1000, 16, 10)
    assert plan.method == "sequential" and len(plan.pairs) < 20 * 1000
    assert {(0, 1), (0, 10), (0, 512)} <= set(sequential_pairs(1000, 10))


def test_spatial_without_gps_is_answered_with_all_pairs_and_says_why() -> None:
    plan = plan_pairs("spatial", None, 5, 16, 10)
    assert plan.method == "exhaustive" and "no GPS" in plan.why


def test_parts_of_the_graph_and_the_pairs_that_could_join_them() -> None:
    parts = components(6, [(0, 1), (1, 2), (3, 4)])
    assert parts == [[0, 1, 2], [3, 4], [5]]
    more = repair_pairs(parts, [(0, 3)], 6)
    assert (0, 3) not in more and (2, 5) in more and (0, 1) not in more and len(more) == 10


def test_strays_are_not_compared_again_but_larger_parts_are() -> None:
    parts = [[0, 1, 2], [3, 4, 5], [6]]
    planned = list(combinations(range(7), 2))
    graph = Graph(21, [], parts, frozenset([(0, 3), (0, 6)]))
    more = repair_pairs(parts, tried_enough(graph, planned), 7)
    assert set(more) == {(i, j) for i in (0, 1, 2) for j in (3, 4, 5)} - {(0, 3)}


def test_joining_pairs_stay_bounded_on_large_sets() -> None:
    parts = [list(range(500)), list(range(500, 1000))]
    more = repair_pairs(parts, [], 1000)
    assert len(set(more)) == 60_000 and all(i < 500 <= j for i, j in more)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_joining_pairs_are_those_of_the_list_of_all(data: st.DataObject) -> None:
    count, per_photo = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 16))
    photos = st.integers(0, count - 1)
    parts = components(count, data.draw(st.lists(st.tuples(photos, photos), max_size=40)))
    tried = data.draw(st.lists(st.tuples(photos, photos), max_size=200))
    part_of = {index: number for number, part in enumerate(parts) for index in part}
    listed = [(i, j) for i, j in combinations(range(count), 2) if part_of[i] != part_of[j] and (i, j) not in tried]
    if len(listed) > per_photo * count:
        listed = [listed[i] for i in np.linspace(0, len(listed) - 1, per_photo * count).round().astype(int)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MAX_REPAIR_PAIRS_PER_PHOTO", per_photo)
        assert repair_pairs(parts, tried, count) == listed


def test_joining_pairs_take_memory_by_the_photo_not_by_its_square() -> None:
    def peak(count: int) -> int:
        parts, tried = [list(range(0, count, 2)), list(range(1, count, 2))], [(i, i + 1) for i in range(count - 1)]
        tracemalloc.start()
        try:
            assert len(repair_pairs(parts, tried, count)) == 60 * count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(4000) < 2.5 * peak(2000)


# Cameras


def test_one_camera_per_device_and_size() -> None:
    photos = [photo("a"), photo("b"), photo("c", size=(900, 1600)), photo("d", device="Canon")]
    assert [group.names for group in camera_groups(photos, "auto", "auto")] == [("a", "b"), ("c",), ("d",)]
    assert len(camera_groups(photos, "single", "auto")) == 2
    assert len(camera_groups(photos, "per_photo", "auto")) == 4


def test_the_focal_prior_is_over_the_diagonal() -> None:
    (group,) = camera_groups([photo("a", size=(3600, 2400), focal=24.0)], "auto", "auto")
    assert group.focal_prior == pytest.approx(2400.0)
    (absurd,) = camera_groups([photo("a", focal=0.1)], "auto", "auto")
    assert absurd.focal_prior is None


def test_many_photos_of_a_camera_afford_more_distortion() -> None:
    many = [photo(str(i)) for i in range(120)]
    assert camera_groups(many, "auto", "auto")[0].model == "OPENCV"
    assert camera_groups(many[:50], "auto", "auto")[0].model == "SIMPLE_RADIAL"
    assert camera_groups(many, "auto", "PINHOLE")[0].model == "PINHOLE"


# EXIF


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (
            {1: "N", 2: (46.0, 30.0, 36.0), 3: "W", 4: (91.0, 0.0, 0.0), 5: b"\x01", 6: 12.5},
            Position(46.51, -91, -12.5),
        ),
        ({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (99.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}, None),
        ({1: "S", 2: (46.0, 30.0, 0.0), 3: "E", 4: (9.0, 0.0, 0.0)}, Position(-46.5, 9, None)),
        ({0: b"\x02\x03\x00\x00"}, None),
    ],
)
def test_gps_is_read_or_left_alone(place: dict[int, object], found: Position | None) -> None:
    image, exif = Image.new("RGB", (8, 8)), Image.Exif()
    exif.get_ifd(0x8825).update(place)
    image.info["exif"] = exif.tobytes()
    position = read_exif(image).position
    if found is None or position is None:
        assert position is found
    else:
        assert position.latitude == pytest.approx(found.latitude) and position.longitude == pytest.approx(
            found.longitude
        )
        assert position.altitude == found.altitude


# Frames


def test_a_similarity_is_found_although_some_gps_is_wrong() -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(0, 3, (40, 3))
    rotation = pycolmap.Rotation3d(np.array([0.1, 0.2, 0.3, 0.9]) / np.linalg.norm([0.1, 0.2, 0.3, 0.9]))
    target = 7.5 * source @ rotation.matrix().T + [100.0, -50.0, 20.0] + rng.normal(0, 0.05, (40, 3))
    target[:6] += rng.normal(0, 200, (6, 3))
    transform, residuals = robust_similarity(source, target)
    assert transform.scale == pytest.approx(7.5, rel=0.002)
    assert np.allclose(transform.rotation.matrix(), rotation.matrix(), atol=0.003)
    assert residuals[6:].max() < 0.5 and residuals[:6].min() > 20


def test_a_mirrored_fit_is_never_chosen() -> None:
    source = np.random.default_rng(2).normal(0, 1, (20, 3))
    transform, _ = robust_similarity(source, source * [1, 1, -1])
    assert np.linalg.det(transform.rotation.matrix()) == pytest.approx(1)


def test_gps_in_one_spot_is_not_used() -> None:
    assert "within a metre" in _unfit(np.random.default_rng(0).normal(0, 0.01, (9, 3)))
    assert not _unfit(grid(3))


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.2])
def test_a_straight_flight_is_georeferenced_by_level_photos(tilt: float) -> None:
    rng = np.random.default_rng(4)
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=12)
    model = pycolmap.synthesize_dataset(options)
    ahead = np.array([0.6, 0.8, 0.0])
    down = np.array([0.0, 0.0, -1.0])
    forward = np.cos(tilt) * down + np.sin(tilt) * ahead
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    truth = {}
    for number, image_id in enumerate(sorted(model.reg_image_ids())):
        image = model.images[image_id]
        truth[image.name] = 8.0 * number * ahead + [0.0, 0.0, 80.0]
        view = pycolmap.Rotation3d(looking(tuple(forward), tuple(right)))
        model.frames[image.frame_id].rig_from_world = pycolmap.Rigid3d(view, -(view.matrix() @ truth[image.name]))
    turned = pycolmap.Rotation3d(np.array([0.3, -0.2, 0.5, 0.8]) / np.linalg.norm([0.3, -0.2, 0.5, 0.8]))
    model.transform(pycolmap.Sim3d(0.05, turned, np.array([3.0, 2.0, 1.0])))
    names = sorted(truth)
    places = np.array([truth[name] for name in names]) + rng.normal(0, 0.05, (12, 3))
    place = georeference(model, names, (places, Position(47.0, 15.0, 400.0)))
    assert place.frame == "ENU" and "straight line" in place.why
    assert place.new_from_old.scale == pytest.approx(20, rel=0.01)
    for image_id in model.reg_image_ids():
        image = model.images[image_id]
        assert np.allclose(image.projection_center(), truth[image.name], atol=0.3)
        assert np.allclose(image.viewing_direction(), forward, atol=0.02)


def test_a_straight_flight_looking_sideways_leaves_the_roll_open() -> None:
    line = np.array([(10.0 * i, 0.0, 0.0) for i in range(9)])
    views = np.array([looking((0, 1, 0), (1, 0, 0))] * 9)
    assert up_beside_line(line, views) is None


def test_places_are_local_metres_and_need_half_of_the_photos() -> None:
    def at(latitude: float | None) -> Photo:
        place = None if latitude is None else Position(latitude, 15.0, 400.0)
        return Photo("p", "p", 10, 10, ExifFacts("", None, None, place), "")

    found = local_positions([at(47.0), at(47.001), at(47.002), at(47.003), at(None)])
    assert found and np.isnan(found[0][4]).all()
    assert np.ptp(found[0][:4, 1]) == pytest.approx(333.5, abs=1)
    assert local_positions([at(47.0), at(47.001), at(47.002), at(47.003)] + [at(None)] * 5) is None


def looking(forward: tuple[float, float, float], right: tuple[float, float, float]) -> np.ndarray:
    return np.stack([np.array(right), np.cross(forward, right), np.array(forward)])


def test_up_of_photos_around_an_object() -> None:
    views = [looking((np.cos(a), np.sin(a), 0), (np.sin(a), -np.cos(a), 0)) for a in np.linspace(0, 5, 12)]
    assert np.allclose(up_direction(np.array(views)), [0, 0, 1], atol=1e-6)


def test_up_of_a_flight_looking_down_on_lines_that_turn_back() -> None:
    views = [looking((0, 0, -1), (1, 0, 0)), looking((0, 0, -1), (-1, 0, 0))] * 5
    assert np.allclose(up_direction(np.array(views)), [0, 0, 1], atol=1e-6)


# Models and gates


def test_the_largest_model_is_taken_not_the_first(tmp_path: Path) -> None:
    for number, frames in enumerate((4, 9)):
        options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=frames)
        (tmp_path / str(number)).mkdir()
        pycolmap.synthesize_dataset(options).write(tmp_path / str(number))
    model = largest_model("global", tmp_path)
    assert model and len(model.registered) == 9


def test_focal_drift_is_the_same_up_and_down() -> None:
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=4)
    model = pycolmap.synthesize_dataset(options)
    focal = next(iter(model.cameras.values())).mean_focal_length()
    name = next(iter(model.images.values())).name
    assert focal_drift(model, {name: 5 * focal}) == pytest.approx(5)
    assert focal_drift(model, {name: focal / 5}) == pytest.approx(5)
    assert focal_drift(model, {}) is None


def test_gates_tell_value_and_limit_and_pass_what_cannot_be_measured() -> None:
    failed = _at_most("focal_drift", 5.2, 1.6, "{value:.1f} times off", "fly slower")
    assert not failed.passed and failed.cause == "5.2 times off (at most 1.6)" and failed.fix == "fly slower"
    assert _at_most("gps_residual", None, 10, "{value}", "").passed
    assert _at_least("registered", 0.7, 0.7, "", "").passed and not _at_least("registered", 0.69, 0.7, "", "").passed


# What a bent model looks like


def bent(times_too_short: float) -> tuple[Model, list[Photo], dict[str, float]]:
    """28 photos, all registered, with a focal length that is too short: as of a rolling shutter from one height."""
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=28)
    model = pycolmap.synthesize_dataset(options)
    for camera in model.cameras.values():
        camera.focal_length = 1090.0 / times_too_short
        camera.width, camera.height = 1600, 900
    names = sorted(image.name for image in model.images.values())
    return Model("global", model, ()), [photo(name) for name in names], dict.fromkeys(names, 1090.0)


def verdicts(model: Model, photos: list[Photo], focals: dict[str, float]) -> dict[str, Gate]:
    nowhere = Georeference("upright", None, pycolmap.Sim3d(), {}, "")
    links = [(i, i + 1, 100) for i in range(len(photos) - 1)]
    limits = SfmOptions(input_dir=Path("in"), output_dir=Path("out")).limits
    gates = judge(model, photos, Graph(len(links), links, [list(range(len(photos)))]), focals, nowhere, limits)
    return {gate.name: gate for gate in gates}


def test_all_registered_with_a_focal_five_times_too_short_fails_with_cause_and_fix() -> None:
    model, photos, focals = bent(5.2)
    assert len(model.registered) == len(photos) == 28
    gate = verdicts(model, photos, focals)["focal_drift"]
    assert not gate.passed and gate.value == pytest.approx(5.2, rel=0.01)
    assert "5.2 times off" in gate.cause and "rolling shutter" in gate.fix
    assert verdicts(*bent(1.2))["focal_drift"].passed


def test_without_exif_the_field_of_view_gives_the_bent_model_away() -> None:
    model, photos, _ = bent(5.2)
    gates = verdicts(model, photos, {})
    assert gates["focal_drift"].value is None and gates["focal_drift"].passed
    assert not gates["field_of_view"].passed and "rolling shutter" in gates["field_of_view"].cause
    model, photos, _ = bent(1.0)
    assert verdicts(model, photos, {})["field_of_view"].passed


def test_too_many_blurred_photos_fail_and_say_how_many() -> None:
    model, photos, focals = bent(1.0)
    soft = [replace(one, blur=0.7 if number < 14 else 0.2) for number, one in enumerate(photos)]
    gate = verdicts(model, soft, focals)["blurred"]
    assert not gate.passed and "14 of 28" in gate.cause
    assert verdicts(model, photos, focals)["blurred"].passed


def in_parts(sizes: list[int], placed: int, others: tuple[tuple[str, ...], ...] = ()) -> Gate:
    """The gate, where the match graph falls into parts of these sizes and the first `placed` photos make the model."""
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=placed)
    model = pycolmap.synthesize_dataset(options)
    names = sorted(image.name for image in model.images.values())
    photos = [photo(name) for name in names] + [photo(f"{{rest}}{i}.jpg") for i in range(sum(sizes) - placed)]
    edges = np.cumsum([0, *sizes]).tolist()
    parts = [list(range(start, end)) for start, end in pairwise(edges)]
    nowhere = Georeference("upright", None, pycolmap.Sim3d(), {}, "")
    limits = SfmOptions(input_dir=Path("in"), output_dir=Path("out")).limits
    gates = judge(Model("global", model, others), photos, Graph(0, [(0, 1, 99)], parts), {}, nowhere, limits)
    return next(gate for gate in gates if gate.name == "disconnected")


def test_a_second_part_of_real_size_fails_with_numbers_names_and_advice() -> None:
    gate = in_parts([12, 6, 1], placed=12)
    assert not gate.passed and gate.value == pytest.approx(6 / 19, abs=1e-4)
    assert "fall into 2 parts" in gate.cause and "12 of 19" in gate.cause
    assert "6 photos ({rest}0.jpg, {rest}1.jpg, {rest}2.jpg, {rest}3.jpg and 2 more)" in gate.cause
    assert "overlapping" in gate.fix and "max_disconnected" in gate.fix


def test_strays_are_no_part_and_a_small_part_of_a_large_set_is_let_pass() -> None:
    strays = in_parts([12, 2, 1, 1], placed=12)
    assert strays.passed and strays.value == 0
    small = in_parts([40, 4], placed=40)
    assert small.passed and small.value == pytest.approx(4 / 44, abs=1e-4)


def test_a_smaller_model_of_connected_photos_is_a_part_too() -> None:
    rest = tuple(f"{{rest}}{i}.jpg" for i in range(5))
    assert in_parts([17], placed=12).value == 0
    gate = in_parts([17], placed=12, others=(rest,))
    assert not gate.passed and gate.value == pytest.approx(5 / 17, abs=1e-4)


def test_pairs_are_compared_in_full_where_they_look_alike_or_a_photo_has_nothing_better() -> None:
    names = [f"{i}.jpg" for i in range(8)]
    pairs = list(combinations(names, 2))
    common = {("0.jpg", "1.jpg"): 50, ("1.jpg", "2.jpg"): 9, ("0.jpg", "2.jpg"): 6, ("0.jpg", "3.jpg"): 3}
    request = {"alike_from": 6, "at_least_with": (1, 3)}
    chosen = set(_worth_it(pairs, [common.get(pair, 0) for pair in pairs], request))
    assert {("0.jpg", "1.jpg"), ("1.jpg", "2.jpg"), ("0.jpg", "2.jpg"), ("0.jpg", "3.jpg")} <= chosen < set(pairs)
    for name in names[3:]:  # like none or one other
        assert sum(name in pair for pair in chosen) >= 3


def test_the_focal_prior_of_a_photo_that_was_scaled_is_not_believed() -> None:
    def of(width: int) -> Photo:
        return Photo("a", "a", width, width * 3 // 4, ExifFacts("Canon", 5.0, None, None, 700.4), "")

    whole, scaled = of(4608), of(1280)
    assert focal_prior(whole) == pytest.approx(3502) and focal_prior(scaled) is None
    assert camera_groups([scaled], "auto", "auto")[0].in_table is False


def test_cameras_without_points_are_no_model(tmp_path: Path) -> None:
    """COLMAP makes such of a camera that only turned."""
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=5, num_points3D=0)
    (tmp_path / "0").mkdir()
    pycolmap.synthesize_dataset(options).write(tmp_path / "0")
    assert largest_model("global", tmp_path) is None


# Features


def extraction_request(folder: Path, **settings: object) -> dict[str, object]:
    groups = [{"names": sorted(path.name for path in folder.iterdir())}]
    plain = {"images": str(folder), "groups": groups, "masks": "", "threads": 2, "max_image_size": 1600}
    return {**plain, "max_features": 1000, "first_octave": 0, "max_orientations": 1, **settings}


def test_only_photos_that_are_rich_in_texture_get_a_higher_threshold_of_contrast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grain = np.asarray(Image.fromarray(rng.integers(0, 255, (200, 267), np.uint8)).resize((800, 600)), float)
    for name, strength in (("plain", 0.02), ("rich", 1.0)):
        Image.fromarray((128 + strength * (grain - 128)).astype(np.uint8)).convert("RGB").save(tmp_path / f"{name}.png")
    found = _contrasts(extraction_request(tmp_path))
    assert found["plain.png"] == 1.0 and found["rich.png"] == CONTRASTS[-1]
    assert set(_contrasts(extraction_request(tmp_path, max_features=50_000)).values()) == {1.0}
    assert set(_contrasts(extraction_request(tmp_path, masks="somewhere")).values()) == {1.0}
