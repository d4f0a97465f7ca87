"""Where things lie in a COLMAP dataset: one rule for all stages. Without pycolmap, which not all of them need."""

from pathlib import Path

MODEL_FOLDERS = ("sparse/0", "sparse", "0", ".")
PHOTO_FOLDERS = ("images", "photos")  # else the folder itself
MODEL_FILES = ("images.bin", "images.txt")
CAMERA_FILES = ("cameras.bin", "cameras.txt")


def model_in(folder: Path) -> Path | None:
    """The folder of the model's files. Beside photos images.txt may be a list of them, so there cameras count."""
    for place in MODEL_FOLDERS:
        names = CAMERA_FILES if place == "." else MODEL_FILES
        if any((folder / place / name).is_file() for name in names):
            return folder / place
    return None


def photos_in(folder: Path) -> Path:
    return next((folder / place for place in PHOTO_FOLDERS if (folder / place).is_dir()), folder)


def dataset_in(folder: Path) -> Path | None:
    """The folder itself, else the first directly below it, that holds a model."""
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return next((place for place in (folder, *below) if model_in(place)), None)
