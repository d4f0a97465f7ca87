"""Content types by file name, the same on every image (Python's own table also reads the machine's)."""

import mimetypes
from pathlib import PurePosixPath

_TABLE = mimetypes.MimeTypes(filenames=())
_OURS = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".heic": "image/heic",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp4": "video/mp4",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    # Splats have no registered type; viewers go by the name.
    ".ply": "application/octet-stream",
    ".sog": "application/octet-stream",
    ".splat": "application/octet-stream",
    ".spz": "application/octet-stream",
}


def content_type(key: str) -> str:
    if ours := _OURS.get(PurePosixPath(key).suffix.lower()):
        return ours
    guess, encoding = _TABLE.guess_type(PurePosixPath(key).name)
    if encoding:  # x.json.gz is a gzip file, not JSON
        return f"application/{'gzip' if encoding == 'gzip' else 'octet-stream'}"
    return guess or "application/octet-stream"
