"""Fetches SuperSplat Viewer from npm, checks it against its pinned hash and packs it for compress.py's pages.

    python jobs/viewer/vendor.py

Writes supersplat-viewer.json beside this file: version, licence, style sheet and the gzipped script. Run it again, and
commit what it writes, to move to another version; the stage itself downloads nothing.
"""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from pathlib import Path

PACKAGE, VERSION = "@playcanvas/supersplat-viewer", "1.36.2"
URL = f"https://registry.npmjs.org/{PACKAGE}/-/supersplat-viewer-{VERSION}.tgz"
SHA512 = "L7w0BlagAonRHQg5qhaDyBB8zrRtiU9QgglNU3kUgsqHpokCAtuf9j4P0kxsUaQn61FZ1qJGkRKsOCbrLCDR0w=="
TARGET = Path(__file__).with_name("supersplat-viewer.json")


def main() -> None:
    with urllib.request.urlopen(URL, timeout=60) as answer:
        tarball = answer.read()
    found = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if found != SHA512:
        raise SystemExit(f"{URL} has the SHA-512 {found}; {SHA512} is pinned. Nothing was written.")
    with tarfile.open(fileobj=io.BytesIO(tarball)) as package:
        script, style, licence = (_text(package, name) for name in ("public/index.js", "public/index.css", "LICENSE"))
    script = script.split("\n//# sourceMappingURL=")[0]  # the map is not delivered
    packed = base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
    content = {"package": PACKAGE, "version": VERSION, "licence": licence, "style": style, "script_gzip_base64": packed}
    TARGET.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{TARGET}: {PACKAGE} {VERSION}, {TARGET.stat().st_size / 1e6:.2f} MB")


def _text(package: tarfile.TarFile, name: str) -> str:
    member = package.extractfile(f"package/{name}")
    if member is None:
        raise SystemExit(f"the package has no {name}: its layout changed. Nothing was written.")
    return member.read().decode()


if __name__ == "__main__":
    main()
