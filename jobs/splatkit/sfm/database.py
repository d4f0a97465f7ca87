"""COLMAP's SQLite database seen from outside: counting, the graph of matches, and copies that are whole."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pycolmap

MIN_INLIERS = 15  # as COLMAP's mappers require of a pair
BACKUP_SECONDS = 60.0


def count_rows(database: Path, table: str) -> int:
    """Rows of `descriptors` (photos done) or `two_view_geometries` (pairs done); 0 while it cannot be read."""
    with suppress(sqlite3.OperationalError), _opened(database) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608 our own names
    return 0


def verified_pairs(database: Path) -> list[tuple[str, str, int]]:
    """Pairs of photo names that COLMAP verified, with their inliers."""
    with pycolmap.Database.open(database) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        pair_ids, inliers = opened.read_two_view_geometry_num_inliers()
    pairs = zip(map(pycolmap.pair_id_to_image_pair, pair_ids), inliers, strict=True)
    return [(names[a], names[b], int(n)) for (a, b), n in pairs if n >= MIN_INLIERS]


def known_focals(database: Path) -> dict[str, float]:
    """The focal length in pixels by photo, where EXIF or COLMAP's table of sensors told it."""
    with pycolmap.Database.open(database) as opened:
        cameras = {c.camera_id: c.mean_focal_length() for c in opened.read_all_cameras() if c.has_prior_focal_length}
        images = opened.read_all_images()
    return {image.name: cameras[image.camera_id] for image in images if image.camera_id in cameras}


class Checkpoint:
    """The database as it was last safe, under CHECKPOINT_DIR, valid for the same photos and options only."""

    def __init__(self, folder: Path, fingerprint: dict[str, object]) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._saved, self._took = time.monotonic(), 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def restore(self, database: Path) -> bool:
        kept, note = self._folder / "database.db", self._folder / "database.json"
        try:
            if not kept.exists() or json.loads(note.read_text()) != self._fingerprint:
                return False
            _copy(kept, database)
        except (OSError, ValueError, sqlite3.DatabaseError):  # damaged: begin anew
            database.unlink(missing_ok=True)
            return False
        return True

    def save(self, database: Path) -> None:
        if not database.exists():
            return
        started = time.monotonic()
        beside, note = self._folder / "database.tmp", self._folder / "database.json"
        beside.unlink(missing_ok=True)
        _copy(database, beside)
        # In this order a crash leaves a database without its note, which is not used, never one with a wrong note.
        note.unlink(missing_ok=True)
        beside.replace(self._folder / "database.db")
        note.write_text(json.dumps(self._fingerprint))
        self._saved = time.monotonic()
        self._took = self._saved - started

    def save_now_and_then(self, database: Path) -> None:
        if time.monotonic() - self._saved > max(BACKUP_SECONDS, 20 * self._took):
            with suppress(sqlite3.OperationalError):  # busy: the next call will do
                self.save(database)


def _copy(source: Path, target: Path) -> None:
    with _opened(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    new.close()


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    # Not read-only: what a killed step left in its journal must be settled before anything can be read.
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=2)
    try:
        yield connection
    finally:
        connection.close()
