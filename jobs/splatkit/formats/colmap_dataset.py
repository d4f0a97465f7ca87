"""Where things lie in a COLMAP dataset: one rule for all stages. Without pycolmap, which not all of them need."""

from pathlib import Path

MODEL_FOLDERS = ("sparse/0", "sparse", "0", ".")
PHOTO_FOLDERS = ("images", "photos")  # else the folder itself
MODEL_FILES = ("images.bin", "images.txt")


def model_in(folder: Path) -> Path | None:
    """The folder of the model's files."""
    places = (folder / place for place in MODEL_FOLDERS)
    return next((place for place in places if any((place / name).is_file() for name in MODEL_FILES)), None)


def photos_in(folder: Path) -> Path:
    return next((folder / place for place in PHOTO_FOLDERS if (folder / place).is_dir()), folder)


def dataset_in(folder: Path) -> Path | None:
    """The folder itself, else the first directly below it, that holds a model."""
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return next((place for place in (folder, *below) if model_in(place)), None)
