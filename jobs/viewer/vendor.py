"""`make viewer`: fetches SuperSplat Viewer with npm, checks its pinned hash and packs it for compress.py's pages.

Writes supersplat-viewer.json beside this file: version, licence, style sheet and the gzipped script. It is built,
not committed; Terraform uploads it with the stages, which download nothing themselves.
"""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "@playcanvas/supersplat-viewer", "1.36.2"
SHA512 = "L7w0BlagAonRHQg5qhaDyBB8zrRtiU9QgglNU3kUgsqHpokCAtuf9j4P0kxsUaQn61FZ1qJGkRKsOCbrLCDR0w=="
TARGET = Path(__file__).with_name("supersplat-viewer.json")


def main() -> None:
    if is_current():
        return
    tarball = download()
    found = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if found != SHA512:
        raise SystemExit(f"{PACKAGE}@{VERSION} has the SHA-512 {found}; {SHA512} is pinned. Nothing was written.")
    with tarfile.open(fileobj=io.BytesIO(tarball)) as package:
        script, style, licence = (_text(package, name) for name in ("public/index.js", "public/index.css", "LICENSE"))
    script = script.split("\n//# sourceMappingURL=")[0]  # the map is not delivered
    packed = base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
    content = {"package": PACKAGE, "version": VERSION, "licence": licence, "style": style, "script_gzip_base64": packed}
    TARGET.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{TARGET}: {PACKAGE} {VERSION}, {TARGET.stat().st_size / 1e6:.2f} MB")


def is_current() -> bool:
    return TARGET.exists() and json.loads(TARGET.read_text()).get("version") == VERSION


def download() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed once, to fetch the viewer for compress.py's pages: https://nodejs.org")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, "--silent"]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise SystemExit(f"npm could not fetch {PACKAGE}@{VERSION}: {done.stderr.strip()[-500:]}")
        return next(Path(folder).glob("*.tgz")).read_bytes()


def _text(package: tarfile.TarFile, name: str) -> str:
    member = package.extractfile(f"package/{name}")
    if member is None:
        raise SystemExit(f"the package has no {name}: its layout changed. Nothing was written.")
    return member.read().decode()


if __name__ == "__main__":
    main()
