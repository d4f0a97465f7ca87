"""The steps that pycolmap does, each in a process of its own: `python colmap_steps.py STEP < request.json`.

pycolmap aborts on some faults, which no `except` can catch. Here an abort ends only this process.
Progress goes to stdout as `@ done total`; the result is written as JSON to the request's "result" path.
"""

import json
import multiprocessing
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

Request = dict[str, Any]
Pair = tuple[str, str]

CONTRASTS = (1.0, 1.4, 2.0)  # times COLMAP's threshold, for photos that are poor, rich and very rich in texture
MIN_SIDE = 600  # pixels; samples of smaller photos would hold no features
TILES, TILE_SHARE = (3, 4), 0.05  # rows and columns of samples, and how much of a photo they cover


def features(request: Request) -> dict[str, Any]:
    camera_ids = _cameras(request)
    contrasts = _contrasts(request)
    for camera_id, group in zip(camera_ids, request["groups"], strict=True):
        for contrast in CONTRASTS:
            names = [name for name in group["names"] if contrasts[name] == contrast]
            if not names:
                continue
            pycolmap.extract_features(
                request["database"],
                request["images"],
                image_names=names,
                reader_options=pycolmap.ImageReaderOptions(
                    camera_model=group["model"], existing_camera_id=camera_id, mask_path=request["masks"]
                ),
                extraction_options=_extraction(request, contrast),
                device=pycolmap.Device.cpu,
            )
    return {}


def _extraction(request: Request, contrast: float) -> pycolmap.FeatureExtractionOptions:
    options = pycolmap.FeatureExtractionOptions(
        max_image_size=request["max_image_size"], num_threads=request["threads"]
    )
    options.sift.max_num_features = request["max_features"]
    options.sift.first_octave = request["first_octave"]
    options.sift.max_num_orientations = request["max_orientations"]
    options.sift.peak_threshold *= contrast
    return options


def _contrasts(request: Request) -> dict[str, float]:
    """By photo, how many times COLMAP's threshold of contrast leaves about max_features.

    COLMAP describes all that it finds and then drops the finest, up to twice max_features: the slow half of extraction.
    """
    names = [name for group in request["groups"] for name in group["names"]]
    if request["masks"]:  # what lies under a mask must not decide about what does not
        return dict.fromkeys(names, CONTRASTS[0])
    # Processes: the extractor keeps Python's lock. This process has no threads yet, so that it may be forked.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(request["threads"], len(names)), mp_context=fork) as pool:
        return dict(zip(names, pool.map(partial(_contrast, request), names), strict=True))


def _contrast(request: Request, name: str) -> float:
    photo = pycolmap.Bitmap.read(Path(request["images"], name), as_rgb=False)
    if photo is None:  # the extraction will say so
        return CONTRASTS[0]
    if max(photo.width, photo.height) > request["max_image_size"]:
        photo.thumbnail(request["max_image_size"])
    if min(photo.width, photo.height) < MIN_SIDE:
        return CONTRASTS[0]
    pixels = photo.to_array().reshape(photo.height, photo.width)
    tiles = [pycolmap.Bitmap.from_array(tile) for tile in _tiles(pixels)]
    seen = sum(tile.width * tile.height for tile in tiles) / pixels.size
    for contrast in CONTRASTS[:-1]:
        extractor = pycolmap.FeatureExtractor.create(_extraction(request, contrast), pycolmap.Device.cpu)
        if sum(len(extractor.extract(tile)[0]) for tile in tiles) <= seen * request["max_features"]:
            return contrast
    return CONTRASTS[-1]


def _tiles(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """The middles of the fields of a grid laid over the photo: TILE_SHARE of its area."""
    rows, columns = TILES
    size = np.array(pixels.shape) / TILES
    for row, column in np.ndindex(rows, columns):
        top, left = ((np.array([row, column]) + 0.5 - TILE_SHARE**0.5 / 2) * size).astype(int)
        height, width = (TILE_SHARE**0.5 * size).astype(int)
        yield np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _cameras(request: Request) -> list[int]:
    """The groups' camera ids, in order; written on the first run, found again on a resumed one."""
    with pycolmap.Database.open(request["database"]) as database:
        known = sorted(camera.camera_id for camera in database.read_all_cameras())
        if len(known) == len(request["groups"]):
            return known
        if known:
            raise ValueError(f"the database holds {len(known)} cameras, the photos need {len(request['groups'])}")
        return [_write_camera(database, group, request["images"]) for group in request["groups"]]


def _write_camera(database: pycolmap.Database, group: dict[str, Any], images: str) -> int:
    focal, known = group["focal_prior"], True
    if focal is None and not group.get("in_table", True):
        focal, known = 1.2 * max(group["width"], group["height"]), False
    elif focal is None:  # COLMAP's table of sensor sizes may know the device
        guess = pycolmap.infer_camera_from_image(Path(images, group["names"][0]))
        focal, known = guess.mean_focal_length(), guess.has_prior_focal_length
    camera = pycolmap.Camera.create_from_model_name(1, group["model"], focal, group["width"], group["height"])
    camera.has_prior_focal_length = known
    camera.camera_id = database.write_camera(camera)
    rig = pycolmap.Rig()
    rig.add_ref_sensor(camera.sensor_id)
    database.write_rig(rig)
    return int(camera.camera_id)


def matching(request: Request) -> dict[str, Any]:
    """Compares the listed pairs: first their coarsest features, then all features of those that looked alike."""
    lines = Path(request["pairs"]).read_text().splitlines()
    listed: list[Pair] = [(first, second) for first, second in (line.split() for line in lines)]
    chosen = _worth_it(listed, _alike(request, listed), request) if request["screened_by"] else listed
    print(f"@ 0 {len(chosen)}", flush=True)
    if chosen:
        verification = pycolmap.TwoViewGeometryOptions()
        # Set here: a new RANSACOptions has other limits and takes three times as long.
        verification.ransac.random_seed = 0
        _compare(request["database"], chosen, request, verification, skip_geometric_verification=False)
    return {"compared": chosen}


def _worth_it(pairs: list[Pair], alike: list[int], request: Request) -> list[Pair]:
    """Pairs with enough in common, and of each photo the most alike ones whatever they have in common."""
    best: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(pairs)), key=lambda number: -alike[number]):
        for name in pairs[number]:
            best[name].append(number)
    few, many = request["at_least_with"]
    kept = {number for number, count in enumerate(alike) if count >= request["alike_from"]}
    for numbers in best.values():
        linked = len(numbers) > 1 and alike[numbers[1]] >= request["alike_from"]
        kept |= set(numbers[: few if linked else many])
    return [pair for number, pair in enumerate(pairs) if number in kept]


def _alike(request: Request, pairs: list[Pair]) -> list[int]:
    """How many of the largest features each pair has in common: Wu's preemptive matching (2013)."""
    coarse = Path(request["coarse"])
    coarse.unlink(missing_ok=True)
    with pycolmap.Database.open(request["database"]) as full, pycolmap.Database.open(coarse) as reduced:
        ids = _copy_largest(full, reduced, request["screened_by"])
    fewest = pycolmap.TwoViewGeometryOptions(min_num_inliers=1)  # below it, COLMAP forgets how many there were
    _compare(coarse, pairs, request, fewest, skip_geometric_verification=True)
    with pycolmap.Database.open(coarse) as reduced:
        found = {pair: len(matches) for pair, matches in zip(*reduced.read_all_matches(), strict=True)}
    return [found.get(pycolmap.image_pair_to_pair_id(ids[a], ids[b]), 0) for a, b in pairs]


def _copy_largest(full: pycolmap.Database, reduced: pycolmap.Database, count: int) -> dict[str, int]:
    """The `count` features of the largest scale of each photo; returns the photos' ids by name."""
    with pycolmap.DatabaseTransaction(reduced):
        for camera in full.read_all_cameras():
            reduced.write_camera(camera, use_camera_id=True)
        for rig in full.read_all_rigs():
            reduced.write_rig(rig, use_rig_id=True)
        images = full.read_all_images()
        for image in images:
            bare = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
            reduced.write_image(bare, use_image_id=True)
            keypoints, descriptors = full.read_keypoints(image.image_id), full.read_descriptors(image.image_id)
            area = np.abs(np.linalg.det(keypoints[:, 2:6].reshape(-1, 2, 2)))
            largest = np.sort(np.argsort(-area, kind="stable")[:count])
            reduced.write_keypoints(image.image_id, keypoints[largest])
            chosen = pycolmap.FeatureDescriptors(descriptors.type, descriptors.data[largest])
            reduced.write_descriptors(image.image_id, chosen)
    return {image.name: image.image_id for image in images}


def _compare(
    database: Path | str,
    pairs: list[Pair],
    request: Request,
    verification: pycolmap.TwoViewGeometryOptions,
    *,
    skip_geometric_verification: bool,
) -> None:
    listed = Path(request["pairs"]).with_name("compared.txt")
    listed.write_text("".join(f"{a} {b}\n" for a, b in pairs))
    matching = pycolmap.FeatureMatchingOptions(num_threads=request["threads"])
    matching.skip_geometric_verification = skip_geometric_verification
    pycolmap.match_image_pairs(
        database,
        matching_options=matching,
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=listed),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )


def global_mapping(request: Request) -> dict[str, Any]:
    options = pycolmap.GlobalPipelineOptions(num_threads=request["threads"], random_seed=0)
    # The parts' own settings are -1, all cores of the host, and need not follow the pipeline's.
    options.mapper.num_threads = request["threads"]
    options.mapper.bundle_adjustment.ceres.solver_options.num_threads = request["threads"]
    models = pycolmap.global_mapping(request["database"], request["images"], request["output"], options)
    return {"models": {str(k): model.num_reg_images() for k, model in models.items()}}


def incremental_mapping(request: Request) -> dict[str, Any]:
    options = pycolmap.IncrementalPipelineOptions(num_threads=request["threads"], random_seed=0, min_model_size=3)
    options.mapper.num_threads = request["threads"]
    registered = 2

    def registered_one_more() -> None:
        nonlocal registered
        registered += 1
        print(f"@ {registered} {request['photos']}", flush=True)

    models = pycolmap.incremental_mapping(
        request["database"],
        request["images"],
        request["output"],
        options,
        request.get("model", ""),  # a model to go on from
        next_image_callback=registered_one_more,
    )
    return {"models": {str(k): model.num_reg_images() for k, model in models.items()}}


def adjust(request: Request) -> dict[str, Any]:
    """Cameras and points fitted once more to observations that moved; those that do not fit any more are dropped."""
    model = pycolmap.Reconstruction(request["model"])
    options = pycolmap.BundleAdjustmentOptions()
    options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    options.ceres.solver_options.num_threads = request["threads"]
    pycolmap.bundle_adjustment(model, options)
    limits = pycolmap.IncrementalPipelineOptions().mapper  # the same as in mapping
    pycolmap.ObservationManager(model).filter_all_points3D(limits.filter_max_reproj_error, limits.filter_min_tri_angle)
    model.update_point_3d_errors()
    model.write(request["output"])
    return {}


def undistort(request: Request) -> dict[str, Any]:
    options = pycolmap.UndistortCameraOptions(max_image_size=request["max_size"])
    pycolmap.undistort_images(
        request["output"],
        request["model"],
        request["images"],
        undistort_options=options,
        jpeg_quality=95,
        num_threads=request["threads"],
    )
    return {}


STEPS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "features": features,
    "matching": matching,
    "global_mapping": global_mapping,
    "incremental_mapping": incremental_mapping,
    "adjust": adjust,
    "undistort": undistort,
}


def main() -> None:
    request = json.load(sys.stdin)
    pycolmap.set_random_seed(0)
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.WARNING)
    result = Path(request["result"])
    result.write_text(json.dumps(STEPS[sys.argv[1]](request)))
    sys.stdout.flush()
    os._exit(0)  # the destructors of a large model take seconds


if __name__ == "__main__":
    main()
