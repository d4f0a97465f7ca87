"""jobs/viewer/vendor.py without npm: the tarball comes from the registry, or `make demo` ends before it begins."""

import base64
import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
FILES = {"public/index.js": "let viewer;\n//# sourceMappingURL=x", "public/index.css": "a {}", "LICENSE": "MIT"}


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor", ROOT / "jobs" / "viewer" / "vendor.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TARGET", tmp_path / "viewer.json")
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    return module


@pytest.fixture
def registry(vendor: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A stand-in that serves a package of ours, by plain HTTP, to which the program itself does not speak."""
    tarball = package()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/viewer.tgz" else 404)
            self.end_headers()
            self.wfile.write(tarball)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(vendor, "TARBALL", f"http://127.0.0.1:{server.server_port}/viewer.tgz")
    monkeypatch.setattr(vendor, "SHA512", base64.b64encode(hashlib.sha512(tarball).digest()).decode())
    monkeypatch.setattr(vendor, "https_only", urllib.request.build_opener)
    yield tarball
    server.shutdown()
    server.server_close()


def package() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_without_npm_the_viewer_comes_from_the_registry(vendor: ModuleType, registry: bytes) -> None:
    vendor.main()
    packed = json.loads(vendor.TARGET.read_text())
    assert gzip.decompress(base64.b64decode(packed["script_gzip_base64"])) == b"let viewer;"
    assert (packed["style"], packed["licence"], packed["version"]) == ("a {}", "MIT", vendor.VERSION)


def test_another_package_than_the_pinned_one_is_not_packed(
    vendor: ModuleType, registry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor, "SHA512", "other")
    with pytest.raises(SystemExit, match="is pinned"):
        vendor.main()
    assert not vendor.TARGET.exists()


def test_an_endless_answer_is_not_read_to_its_end(
    vendor: ModuleType, registry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor, "MOST_BYTES", len(registry) - 1)
    with pytest.raises(SystemExit, match="more than"):
        vendor.main()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "file:///etc/hosts", "ftp://127.0.0.1:9/x"])
def test_nothing_but_https_is_spoken(vendor: ModuleType, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(vendor, "TARBALL", url)
    with pytest.raises(SystemExit, match=r"unknown url type.*install npm"):
        vendor.main()


def test_the_registrys_refusal_is_told_with_what_to_do(
    vendor: ModuleType, registry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor, "TARBALL", vendor.TARBALL.replace("viewer.tgz", "other.tgz"))
    with pytest.raises(SystemExit, match=r"404.*HTTPS_PROXY.*install npm"):
        vendor.main()


def test_make_demo_ends_at_once_where_the_viewer_cannot_be_had(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = '#!/bin/sh\necho "python $*"\ncase "$*" in *vendor.py) exit 1;; esac\n'
    for name, text in {
        ".venv/bin/python": python,
        "bin/terraform": "#!/bin/sh\n",
        "scripts/setup.sh": "#!/bin/sh\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(["make", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout.split("\n")[-2] == "python jobs/viewer/vendor.py"
