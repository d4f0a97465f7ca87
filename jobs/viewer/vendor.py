"""`make viewer`: fetches SuperSplat Viewer, checks its pinned hash and packs it for compress.py's pages.

With npm, which knows of mirrors and their keys; without it straight from npm's registry.

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
import urllib.request
from http.client import HTTPException
from pathlib import Path

PACKAGE, VERSION = "@playcanvas/supersplat-viewer", "1.36.2"
SHA512 = "L7w0BlagAonRHQg5qhaDyBB8zrRtiU9QgglNU3kUgsqHpokCAtuf9j4P0kxsUaQn61FZ1qJGkRKsOCbrLCDR0w=="
TARBALL = f"https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE.split('/')[1]}-{VERSION}.tgz"
MOST_BYTES = 20_000_000  # it has 3.2 MB
TIMEOUT = 30  # seconds without a byte
WITHOUT_NPM = (
    "Give this machine a way to registry.npmjs.org (HTTPS_PROXY), or install npm and name your mirror in its settings: "
    "https://nodejs.org"
)
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
    return _from_registry() if npm is None else _with_npm(npm)


def _with_npm(npm: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, "--silent"]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise SystemExit(f"npm could not fetch {PACKAGE}@{VERSION}: {done.stderr.strip()[-500:]}")
        return next(Path(folder).glob("*.tgz")).read_bytes()


def https_only() -> urllib.request.OpenerDirector:
    """Also after a redirect: urllib's own opener would go on with http, ftp and file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _from_registry() -> bytes:
    try:
        with https_only().open(TARBALL, timeout=TIMEOUT) as answer:
            tarball: bytes = answer.read(MOST_BYTES + 1)
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise SystemExit(f"{TARBALL} could not be fetched, and there is no npm: {error}. {WITHOUT_NPM}") from None
    if len(tarball) > MOST_BYTES:
        raise SystemExit(f"{TARBALL} has more than {MOST_BYTES} bytes: this is not the package. {WITHOUT_NPM}")
    return tarball


def _text(package: tarfile.TarFile, name: str) -> str:
    member = package.extractfile(f"package/{name}")
    if member is None:
        raise SystemExit(f"the package has no {name}: its layout changed. Nothing was written.")
    return member.read().decode()


if __name__ == "__main__":
    main()
