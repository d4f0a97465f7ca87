"""Write the EXIF of a drone's photo: camera, time and GPS position."""

import numpy as np
import pycolmap
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from local.survey.flight import Pose

ORIGIN = (47.0707, 15.4395, 353.0)  # latitude, longitude, ellipsoidal height of the town's middle
FOCAL_35MM, SENSOR_WIDTH_MM = 24.0, 13.2


def gps_positions(poses: tuple[Pose, ...], noise: np.ndarray) -> np.ndarray:
    """Return latitude, longitude and ellipsoidal height of each pose, shape [n, 3]; `noise` is in metres."""
    centres = np.array([pose.centre for pose in poses]) + noise
    return np.asarray(pycolmap.GPSTransform().enu_to_ellipsoid(centres, *ORIGIN))


def exif_of(pose: Pose, gps: np.ndarray) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Splatworks", "Rendered survey"
    exif[ExifTags.Base.Orientation] = 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = pose.taken_at.strftime("%Y:%m:%d %H:%M:%S")
    details[ExifTags.Base.FocalLength] = IFDRational(round(FOCAL_35MM / 36 * SENSOR_WIDTH_MM * 1000), 1000)
    details[ExifTags.Base.FocalLengthIn35mmFilm] = int(FOCAL_35MM)
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude, longitude, height = (float(value) for value in gps)
    place[ExifTags.GPS.GPSLatitudeRef] = "N" if latitude >= 0 else "S"
    place[ExifTags.GPS.GPSLatitude] = _degrees_minutes_seconds(latitude)
    place[ExifTags.GPS.GPSLongitudeRef] = "E" if longitude >= 0 else "W"
    place[ExifTags.GPS.GPSLongitude] = _degrees_minutes_seconds(longitude)
    place[ExifTags.GPS.GPSAltitudeRef] = b"\x00" if height >= 0 else b"\x01"
    place[ExifTags.GPS.GPSAltitude] = IFDRational(round(abs(height) * 1000), 1000)
    return exif


def _degrees_minutes_seconds(angle: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    units = round(abs(angle) * 3600 * 10_000)  # a ten-thousandth of a second is 3 mm on the ground
    minutes, seconds = divmod(units, 60 * 10_000)
    return IFDRational(minutes // 60, 1), IFDRational(minutes % 60, 1), IFDRational(seconds, 10_000)
