"""What a photo's EXIF tells structure from motion: device, focal length, place."""

import math
from dataclasses import dataclass

from PIL import ExifTags, Image


@dataclass(frozen=True)
class Position:
    latitude: float  # degrees
    longitude: float
    altitude: float | None  # metres


@dataclass(frozen=True)
class ExifFacts:
    device: str  # make and model; empty when not told
    focal_mm: float | None
    focal_35mm: float | None  # equivalent on 36 x 24 mm film
    position: Position | None
    pixels_per_mm: float | None = None  # on the sensor; of the camera's own photo, which may have been scaled since


def read_exif(image: Image.Image) -> ExifFacts:
    """Damaged or absurd EXIF counts as none."""
    try:
        exif = image.getexif()
        details, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError):
        return ExifFacts("", None, None, None)
    device = " ".join(_text(exif.get(tag)) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)).strip()
    return ExifFacts(
        device,
        _positive(details.get(ExifTags.Base.FocalLength)),
        _positive(details.get(ExifTags.Base.FocalLengthIn35mmFilm)),
        _position(place),
        _pixels_per_mm(details),
    )


def _pixels_per_mm(details: dict[int, object]) -> float | None:
    resolution = _positive(details.get(ExifTags.Base.FocalPlaneXResolution))
    millimetres = {2: 25.4, 3: 10.0, 4: 1.0}.get(details.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))  # type: ignore[call-overload]
    return resolution / millimetres if resolution and millimetres else None


def _position(place: dict[int, object]) -> Position | None:
    latitude = _angle(place.get(ExifTags.GPS.GPSLatitude), place.get(ExifTags.GPS.GPSLatitudeRef), "S")
    longitude = _angle(place.get(ExifTags.GPS.GPSLongitude), place.get(ExifTags.GPS.GPSLongitudeRef), "W")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    if latitude == 0 and longitude == 0:  # what receivers without a fix write
        return None
    altitude = _number(place.get(ExifTags.GPS.GPSAltitude))
    if altitude is not None and place.get(ExifTags.GPS.GPSAltitudeRef) in (b"\x01", 1):
        altitude = -altitude
    if altitude is not None and not -1000 < altitude < 100_000:
        altitude = None
    return Position(latitude, longitude, altitude)


def _angle(parts: object, reference: object, negative: str) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    degrees, minutes, seconds = (_number(part) for part in parts)
    if degrees is None or minutes is None or seconds is None:
        return None
    angle = degrees + minutes / 60 + seconds / 3600
    return -angle if _text(reference).upper() == negative else angle


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number and number > 0 else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\x00", " ").strip() if isinstance(value, str) else ""
