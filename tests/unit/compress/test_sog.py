"""SOG: precision, size, order, the format's rules, and files from strangers."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from splatkit.compress.codebook import best_codebook, indices_of
from splatkit.compress.quality import attribute_errors, covariances
from splatkit.compress.sog_encoder import Precision, encode_sog, log_means
from splatkit.errors import StageError
from splatkit.formats.limits import require_believable
from splatkit.formats.sog import SogFiles, read_sog
from splatkit.formats.splat_files import read_splats
from splatkit.formats.webp import read_webp
from splatkit.splats import Splats
from splatworks.contract.exit_codes import ExitCode


@pytest.fixture(scope="module")
def files(scene: Splats) -> SogFiles:
    return encode_sog(scene, Precision()).files


def write(path: Path, splats: Splats) -> Path:
    encode_sog(splats, Precision()).files.write_bundle(path)
    return path


def test_every_attribute_comes_back_within_its_step(scene: Splats) -> None:
    encoded = encode_sog(scene, Precision())
    result = encoded.files.decode().expanded
    extent = np.ptp(log_means(scene.means), axis=0)
    off = np.abs(log_means(result.means) - log_means(encoded.kept.means)) / extent * 65535
    assert off.max() < 1.02
    assert np.abs(result.alphas - encoded.kept.alphas).max() <= 1.01 / 255
    for name in ("scales", "sh0"):  # no worse than the best 256 values
        values = getattr(encoded.kept, name)
        best = best_codebook(values, 256)
        least = np.sqrt(((best[indices_of(values, best)] - values) ** 2).mean())
        assert np.sqrt(((getattr(result, name) - values) ** 2).mean()) <= 1.02 * least
    turn = 2 * np.arccos(np.clip(np.abs((result.quats * encoded.kept.quats).sum(axis=1)), 0, 1))
    assert np.degrees(turn).max() < 1.5


def test_the_splats_are_the_same_set_in_another_order_and_orientation(scene: Splats) -> None:
    kept = encode_sog(scene, Precision()).kept
    by_place = np.lexsort(kept.means.T), np.lexsort(scene.means.T)
    np.testing.assert_array_equal(kept.means[by_place[0]], scene.means[by_place[1]])
    np.testing.assert_allclose(
        covariances(kept.take(by_place[0])), covariances(scene.take(by_place[1])), rtol=1e-3, atol=1e-8
    )


def test_a_scene_without_a_volume_is_kept_flat() -> None:
    shapes = {"means": (5, 3), "scales": (5, 3), "opacities": (5,), "sh0": (5, 3), "shN": (5, 0, 3)}
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    flat = Splats(**zeros, quats=np.tile(np.array([1, 0, 0, 0], np.float32), (5, 1)))
    result = encode_sog(flat, Precision()).files.decode().splats
    np.testing.assert_array_equal(result.means, 0)
    np.testing.assert_allclose(result.quats[:, 0], 1, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_few_splats_fill_pictures_whose_sides_are_multiples_of_four(scene: Splats, count: int) -> None:
    files = encode_sog(scene.take(slice(0, count)), Precision()).files
    for name, content in files.pictures.items():
        height, width = read_webp(content, name).shape[:2]
        assert (width % 4, height % 4) == (0, 0) and width * height >= count
    assert len(files.decode()) == count


def test_harmonics_cost_little_and_stay_close(shiny_scene: Splats) -> None:
    encoded = encode_sog(shiny_scene, Precision())
    errors = attribute_errors(encoded.source, encoded.order, encoded.files.decode())
    assert errors["shN"]["rmse"] ** 2 < 0.5 * shiny_scene.shN.var()
    finest = encode_sog(shiny_scene, Precision(palette_growth=64, palette_noise=1e-4))
    assert (
        attribute_errors(finest.source, finest.order, finest.files.decode())["shN"]["rmse"] ** 2
        < 2e-4 * shiny_scene.shN.var()
    )
    assert encoded.files.size < finest.files.size


def test_lower_degrees_leave_the_higher_bands_out(shiny_scene: Splats) -> None:
    files = encode_sog(shiny_scene, replace(Precision(), sh_degree=1)).files
    assert files.meta["shN"]["bands"] == 1
    assert files.decode().sh_degree == 1


def test_coding_a_decoded_sog_again_loses_nothing_but_of_its_rotations(scene: Splats) -> None:
    once = encode_sog(scene, Precision(means_step=1)).files.decode().expanded  # as other programs use the codes
    again = encode_sog(once, Precision(), np.arange(len(once)))
    result = again.files.decode().expanded
    for name in ("scales", "sh0"):
        np.testing.assert_array_equal(getattr(result, name), getattr(again.kept, name))
    np.testing.assert_allclose(result.alphas, again.kept.alphas, atol=1e-6)
    extent = np.ptp(log_means(once.means), axis=0)
    off = np.abs(log_means(result.means) - log_means(again.kept.means)) / extent * 65535
    assert off.max() < 0.05  # of a code; two codes a step would be 1


def test_opaque_stays_opaque_at_any_step(scene: Splats) -> None:
    opaque = replace(scene, opacities=np.full(len(scene), 13.8, np.float32))
    for step in (1, 2, 7):
        precision = Precision(alpha_step=step, keep_coded=False)
        assert encode_sog(opaque, precision).files.decode().splats.alphas.min() > 0.9999


def test_the_same_splats_make_the_same_bytes(tmp_path: Path, shiny_scene: Splats) -> None:
    assert write(tmp_path / "a.sog", shiny_scene).read_bytes() == write(tmp_path / "b.sog", shiny_scene).read_bytes()


def test_bundle_and_folder_read_the_same(tmp_path: Path, shiny_scene: Splats) -> None:
    files = encode_sog(shiny_scene, Precision()).files
    files.write_bundle(tmp_path / "scene.sog")
    files.write_folder(tmp_path / "folder")
    for path in (tmp_path / "folder", tmp_path / "folder" / "meta.json"):
        read = read_splats(path) if path.suffix else read_sog(path)
        np.testing.assert_array_equal(read.shN, files.decode().expanded.shN)
    np.testing.assert_array_equal(read_splats(tmp_path / "scene.sog").quats, files.decode().splats.quats)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "scene.sog"]


def test_the_antialiasing_filter_of_a_training_is_told_to_viewers(scene: Splats) -> None:
    for antialiased in (False, True):
        files = encode_sog(replace(scene, antialiased=antialiased), Precision()).files
        assert files.meta.get("antialias", False) is antialiased
        assert files.decode().expanded.antialiased is antialiased


def test_the_peers_own_sog_is_read(real_splats: Path) -> None:
    splats = read_splats(real_splats / "playbot_lod1_sog" / "meta.json")
    assert (len(splats), splats.sh_degree) == (250_000, 2)


def test_what_no_picture_shows_costs_next_to_nothing_and_stays_invisible(scene: Splats) -> None:
    faint = replace(scene, opacities=np.where(np.arange(len(scene)) % 2, np.float32(-7), scene.opacities))
    visible = faint.take(faint.opacities > -7)
    whole, half = (encode_sog(splats, Precision()) for splats in (faint, visible))
    assert whole.files.size < 1.03 * half.files.size
    result = whole.files.decode().splats
    assert len(result) == len(scene) and whole.visible == len(visible)
    assert result.alphas[whole.visible :].max() < 1e-5 and result.alphas[: whole.visible].min() > 0.9 / 255
    off = np.abs(log_means(result.means[: whole.visible]) - log_means(whole.kept.means)).max()
    assert off < 1.02 * np.ptp(log_means(visible.means)) / 65535


def test_no_attribute_errs_more_than_by_truncation_to_all_codes(scene: Splats) -> None:
    encoded = encode_sog(scene, Precision())
    kept, result = encoded.kept, encoded.files.decode().splats
    logs = log_means(kept.means)
    extent = np.ptp(logs, axis=0)
    for before, after, scale in ((logs, log_means(result.means), 65535 / extent), (kept.alphas, result.alphas, 255.0)):
        codes = before * scale if before.ndim == 1 else (before - before.min(axis=0)) * scale
        truncated = ((codes - np.floor(codes)) ** 2).mean()
        assert (((before - after) * scale) ** 2).mean() <= 1.0001 * truncated


BREAKS: dict[str, Any] = {
    "version": lambda meta: meta.update(version=1),
    "count": lambda meta: meta.update(count=10**10),
    "sh0.codebook": lambda meta: meta["sh0"].update(codebook=[0.0] * 300),
    "means.mins": lambda meta: meta["means"].update(mins=[0, float("inf"), 0]),
    "quats.files": lambda meta: meta["quats"].update(files=["../../etc/passwd"]),
    "scales": lambda meta: meta.pop("scales"),
    "pixels for": lambda meta: meta.update(count=meta["count"] * 2),
    "codebook of": lambda meta: meta["scales"].update(codebook=[1.0, 2.0]),
    "nothing.webp": lambda meta: meta["sh0"].update(files=["nothing.webp"]),
}


@pytest.mark.parametrize("words", BREAKS)
def test_a_description_that_does_not_fit_is_refused_by_field(tmp_path: Path, scene: Splats, words: str) -> None:
    files = encode_sog(scene, Precision()).files
    meta = json.loads(files.meta_bytes)
    BREAKS[words](meta)
    with zipfile.ZipFile(tmp_path / "bad.sog", "w") as bundle:
        bundle.writestr("meta.json", json.dumps(meta))
        for name, content in files.pictures.items():
            bundle.writestr(name, content)
    with pytest.raises(StageError) as caught:
        read_sog(tmp_path / "bad.sog")
    assert caught.value.exit_code == ExitCode.INPUT_ERROR
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["meta.json", "quats.webp", "means_u.webp"])
@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00WEBPVP8L", b"\x89PNG\r\n\x1a\n" + b"x" * 100])
def test_a_damaged_entry_is_an_error_and_no_traceback(
    tmp_path: Path, scene: Splats, name: str, content: bytes
) -> None:  # fmt: skip
    write(tmp_path / "good.sog", scene)
    with zipfile.ZipFile(tmp_path / "good.sog") as good, zipfile.ZipFile(tmp_path / "bad.sog", "w") as bad:
        for entry in good.namelist():
            bad.writestr(entry, content if entry == name else good.read(entry))
    with pytest.raises(StageError) as caught:
        read_sog(tmp_path / "bad.sog")
    assert caught.value.code == "bad_sog"


def test_a_truncated_bundle_and_one_that_is_no_zip_are_refused(tmp_path: Path, scene: Splats) -> None:
    whole = write(tmp_path / "good.sog", scene).read_bytes()
    for content in (whole[:-100], whole[: len(whole) // 2], b"not a zip at all"):
        (tmp_path / "bad.sog").write_bytes(content)
        with pytest.raises(StageError, match="cannot be read as SOG"):
            read_sog(tmp_path / "bad.sog")


def test_surprising_entries_are_neither_read_nor_unpacked(tmp_path: Path, scene: Splats) -> None:
    path = write(tmp_path / "scene.sog", scene)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("../../outside.txt", "x")
        bundle.writestr("bomb.bin", b"\0" * 10_000_000)
    assert len(read_sog(path)) == len(scene)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene.sog"]


def test_a_description_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.sog", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("meta.json", b" " * 20_000_000)
    with pytest.raises(StageError, match="20,000,000 bytes"):
        read_sog(tmp_path / "bomb.sog")


def bundle_of(
    path: Path, files: SogFiles, changed: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as bundle:
        for name, content in {"meta.json": files.meta_bytes, **files.pictures, **(changed or {})}.items():
            bundle.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(StageError) as caught:
        read_sog(path)
    assert (caught.value.code, caught.value.exit_code, caught.value.retryable) == (
        "bad_sog",
        ExitCode.INPUT_ERROR,
        False,
    )
    return str(caught.value)


def altered(path: Path, at: dict[bytes, int], value: Callable[[int], int]) -> Path:
    """Sets the byte so far behind each signature in the zip."""
    content = bytearray(path.read_bytes())
    for signature, offset in at.items():
        found = content.find(signature)
        while found >= 0:
            content[found + offset] = value(content[found + offset])
            found = content.find(signature, found + 4)
    path.write_bytes(content)
    return path


def test_an_encrypted_bundle_is_refused_as_such(tmp_path: Path, files: SogFiles) -> None:
    path = bundle_of(tmp_path / "bad.sog", files)
    altered(path, {b"PK\x01\x02": 8, b"PK\x03\x04": 6}, lambda flags: flags | 1)
    assert "meta.json is encrypted" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bundle_that_no_viewer_could_unpack_is_refused(tmp_path: Path, files: SogFiles, method: int) -> None:
    path = bundle_of(tmp_path / "bad.sog", files, method=method)
    assert f"meta.json is compressed by method {method}" in refusal(path)


def test_a_deflated_bundle_is_read_and_a_damaged_one_refused_by_entry(tmp_path: Path, files: SogFiles) -> None:
    path = bundle_of(tmp_path / "scene.sog", files, method=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(read_sog(path).means, files.decode().splats.means)
    content = bytearray(path.read_bytes())
    content[content.index(b"quats.webp") + len("quats.webp")] = 0xFF
    path.write_bytes(content)
    assert "quats.webp is damaged" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 500_000, "nested too deeply"),
        (b"{", "meta.json cannot be parsed"),
        (b'{"version": ' + b"9" * 5000 + b"}", "meta.json cannot be parsed"),
        (b'{"version": 2, "count": 1, "means": {"mins": [%s]}}' % str(10**400).encode(), "means.mins"),
        (json.dumps({"version": "x" * 10_000}).encode(), "version is 'xxxx"),
    ],
)  # fmt: skip
def test_a_description_from_a_stranger_is_an_error_and_no_traceback(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    assert words in refusal(tmp_path / "meta.json")
    assert len(refusal(tmp_path / "meta.json")) < 300


def test_a_folder_in_the_place_of_a_picture_is_named(tmp_path: Path, files: SogFiles) -> None:
    files.write_folder(tmp_path / "scene")
    (tmp_path / "scene" / "quats.webp").unlink()
    assert "quats.webp is missing" in refusal(tmp_path / "scene")
    (tmp_path / "scene" / "quats.webp").mkdir()
    assert "quats.webp is no file" in refusal(tmp_path / "scene")


def test_a_zip_that_lost_its_beginning_is_refused(tmp_path: Path, files: SogFiles) -> None:
    path = bundle_of(tmp_path / "bad.sog", files)
    path.write_bytes(path.read_bytes()[1000:])
    assert "cut off at its beginning" in refusal(path)


def saved_again(content: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["means_l.webp", "means_u.webp", "scales.webp"])
@pytest.mark.parametrize("options", [{"quality": 60}, {"quality": 60, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_a_lossy_picture_is_refused_as_its_numbers_are_changed(
    tmp_path: Path, files: SogFiles, name: str, options: dict[str, Any]
) -> None:
    lossy = saved_again(files.pictures[name], **options)
    assert f"{name} is a lossy or animated WebP" in refusal(bundle_of(tmp_path / "bad.sog", files, {name: lossy}))


def test_a_lossless_picture_with_metadata_is_read(tmp_path: Path, files: SogFiles) -> None:
    content = saved_again(files.pictures["quats.webp"], lossless=True, exact=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    assert content[12:16] == b"VP8X"
    path = bundle_of(tmp_path / "scene.sog", files, {"quats.webp": content})
    np.testing.assert_array_equal(read_sog(path).quats, files.decode().splats.quats)
    other_size = content[:24] + b"\1" + content[25:]
    assert "of its size" in refusal(bundle_of(tmp_path / "bad.sog", files, {"quats.webp": other_size}))


def test_no_picture_is_decoded_that_is_too_large_for_its_splats(tmp_path: Path, files: SogFiles) -> None:
    width, height = 1000, 90  # for 6,000 splats: 24,000 and 65,536 to spare
    header = b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0\x2f" + (width - 1 | height - 1 << 14).to_bytes(4, "little") + b"\0\0\0"
    path = bundle_of(tmp_path / "bad.sog", files, {"quats.webp": header})
    assert "quats.webp is 1000x90; at most 89,536 pixels" in refusal(path)


def test_an_entry_that_unpacks_to_more_than_a_picture_needs_is_not_unpacked(tmp_path: Path, files: SogFiles) -> None:
    bomb = {"quats.webp": bytes(800_000)}
    path = bundle_of(tmp_path / "bad.sog", files, bomb, zipfile.ZIP_DEFLATED)
    assert "quats.webp announces 800,000 bytes; at most 716,288" in refusal(path)


def test_a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken(tmp_path: Path, files: SogFiles) -> None:
    huge = SogFiles({**files.meta, "count": 50_000_000}, files.pictures)
    held = sum(map(len, files.pictures.values()))
    words = f"50,000,000 splats are announced, which {held:,} bytes cannot hold"
    assert words in refusal(bundle_of(tmp_path / "bad.sog", huge))
    huge.write_folder(tmp_path / "bad")
    assert words in refusal(tmp_path / "bad")


def test_splats_that_are_all_alike_are_few_bytes_and_read_all_the_same(tmp_path: Path, scene: Splats) -> None:
    alike = encode_sog(scene.take(np.zeros(60_000, int)), Precision()).files
    assert alike.size < 60_000 / 8
    assert len(read_sog(bundle_of(tmp_path / "alike.sog", alike))) == 60_000
    require_believable(1_000_000, 1)
    require_believable(4_000_000, 1_000_000)
    with pytest.raises(ValueError, match="4,000,001 splats"):
        require_believable(4_000_001, 1_000_000)


def test_codebooks_that_begin_with_null_are_read_as_playcanvas_engine_reads_them(
    tmp_path: Path, shiny_scene: Splats
) -> None:
    files = encode_sog(shiny_scene, Precision()).files
    meta = json.loads(files.meta_bytes)
    for name in ("scales", "sh0", "shN"):
        codebook = meta[name]["codebook"]
        codebook += codebook[-1:] * (256 - len(codebook))
        codebook[0] = codebook[1] + (codebook[1] - codebook[255]) / 255
    wanted = SogFiles(meta, files.pictures).decode().expanded
    for name in ("scales", "sh0", "shN"):
        meta[name]["codebook"][0] = None
    found = read_sog(bundle_of(tmp_path / "null.sog", SogFiles(meta, files.pictures)))
    for name in ("scales", "sh0", "shN"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6)
    meta["sh0"]["codebook"][7] = None
    assert "sh0.codebook must be" in refusal(bundle_of(tmp_path / "bad.sog", SogFiles(meta, files.pictures)))
