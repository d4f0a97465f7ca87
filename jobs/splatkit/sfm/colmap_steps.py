"""The steps that pycolmap does, each in a process of its own: `python colmap_steps.py STEP < request.json`.

pycolmap aborts on some faults, which no `except` can catch. Here an abort ends only this process.
Progress goes to stdout as `@ done total`; the result is written as JSON to the request's "result" path.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycolmap

Request = dict[str, Any]


def features(request: Request) -> dict[str, Any]:
    camera_ids = _cameras(request)
    options = pycolmap.FeatureExtractionOptions(
        max_image_size=request["max_image_size"], num_threads=request["threads"]
    )
    options.sift.max_num_features = request["max_features"]
    options.sift.first_octave = request["first_octave"]
    for camera_id, group in zip(camera_ids, request["groups"], strict=True):
        pycolmap.extract_features(
            request["database"],
            request["images"],
            image_names=group["names"],
            reader_options=pycolmap.ImageReaderOptions(
                camera_model=group["model"], existing_camera_id=camera_id, mask_path=request["masks"]
            ),
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
    return {}


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
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = 0  # set here: a new RANSACOptions has other limits and takes three times as long
    pycolmap.match_image_pairs(
        request["database"],
        matching_options=pycolmap.FeatureMatchingOptions(num_threads=request["threads"]),
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=request["pairs"]),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )
    return {}


def global_mapping(request: Request) -> dict[str, Any]:
    options = pycolmap.GlobalPipelineOptions(num_threads=request["threads"], random_seed=0)
    models = pycolmap.global_mapping(request["database"], request["images"], request["output"], options)
    return {"models": {str(k): model.num_reg_images() for k, model in models.items()}}


def incremental_mapping(request: Request) -> dict[str, Any]:
    options = pycolmap.IncrementalPipelineOptions(num_threads=request["threads"], random_seed=0, min_model_size=3)
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
