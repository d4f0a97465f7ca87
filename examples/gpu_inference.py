"""Finds photos that look alike: each becomes a vector, in batches on the GPU. An example of an inference job.

    python examples/gpu_inference.py --input-dir photos --output-dir out

The weights are encoder.pt of INPUT_DIR, else of MODELS_DIR, which all jobs share. Where there are none it makes them, a
bank of edge and colour filters, and leaves them in MODELS_DIR for the next job. Without a GPU it runs on the CPU,
unless COMPUTE_TYPE is `gpu`.
"""

import argparse
import csv
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SIDE = 128  # pixels; photos are cut to a square of this size
INPUT_ERROR = 2  # the platform does not retry it


class Encoder(torch.nn.Module):
    """N x 3 x 128 x 128 images from 0 to 1, to N x 176 vectors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = torch.nn.Conv2d(3, 11, kernel_size=7, padding=3, bias=False)
        self.pool = torch.nn.AdaptiveAvgPool2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        responses = self.pool(self.filters(images).abs())
        return torch.nn.functional.normalize(responses.flatten(1), dim=1)


def filter_bank() -> torch.Tensor:
    """Edges in eight directions and three colours: 11 x 3 x 7 x 7."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 7), torch.linspace(-1, 1, 7), indexing="ij")
    bell = torch.exp(-3 * (x**2 + y**2))
    bank = torch.zeros(11, 3, 7, 7)
    for index in range(8):
        angle = index * math.pi / 8
        bank[index] = (x * math.cos(angle) + y * math.sin(angle)) * bell / 3
    for channel in range(3):
        bank[8 + channel, channel] = bell / bell.sum()
    return bank


def load_encoder(input_dir: Path, models_dir: Path, device: torch.device) -> Encoder:
    encoder = Encoder()
    for path in (input_dir / "encoder.pt", models_dir / "encoder.pt"):
        if path.exists():
            print(f"weights from {path}")
            encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return encoder.to(device).eval()
    encoder.filters.weight.data = filter_bank()
    models_dir.mkdir(parents=True, exist_ok=True)
    beside = models_dir / f"encoder.pt.{os.getpid()}"  # another job may be writing the same
    torch.save(encoder.state_dict(), beside)
    beside.replace(models_dir / "encoder.pt")
    print(f"no weights found: made some, kept in {models_dir}")
    return encoder.to(device).eval()


def read_photo(path: Path) -> torch.Tensor | None:
    try:
        with Image.open(path) as photo:
            square = ImageOps.fit(ImageOps.exif_transpose(photo).convert("RGB"), (SIDE, SIDE))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        print(f"left out {path.name}: {error}")
        return None
    return torch.from_numpy(np.asarray(square, dtype=np.float32) / 255).permute(2, 0, 1)


@torch.inference_mode()
def encode(paths: list[Path], encoder: Encoder, batch_size: int, output_dir: Path) -> dict[Path, torch.Tensor]:
    """Only one batch of photos is in memory at a time."""
    vectors: dict[Path, torch.Tensor] = {}
    for start in range(0, len(paths), batch_size):
        read = {path: read_photo(path) for path in paths[start : start + batch_size]}
        photos = {path: photo for path, photo in read.items() if photo is not None}
        if photos:
            batch = torch.stack(list(photos.values())).to(encoder.filters.weight.device)
            vectors.update(zip(photos, encoder(batch).cpu(), strict=True))
        done = start + len(read)
        print(f"{done}/{len(paths)} photos")
        progress = {"done": done, "total": len(paths), "fraction": round(done / len(paths), 3)}
        (output_dir / "progress.json").write_text(json.dumps(progress))
    return vectors


def write_similar(names: list[str], vectors: torch.Tensor, path: Path) -> None:
    """For each photo the one most like it; 1 means the same."""
    similarity = vectors @ vectors.T
    similarity.fill_diagonal_(-1)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "most_similar", "similarity"])
        for name, row in zip(names, similarity, strict=True):
            table.writerow([name, names[int(row.argmax())], f"{row.max().item():.4f}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-dir", type=Path, default=os.environ.get("INPUT_DIR", "input"))
    parser.add_argument("--output-dir", type=Path, default=os.environ.get("OUTPUT_DIR", "output"))
    parser.add_argument("--models-dir", type=Path, default=os.environ.get("MODELS_DIR", "models"))
    parser.add_argument("--batch-size", type=int, default=os.environ.get("PARAM_BATCH_SIZE", "64"))
    options = parser.parse_args()

    compute_type = os.environ.get("COMPUTE_TYPE", "")
    if compute_type == "gpu" and not torch.cuda.is_available():
        sys.exit("COMPUTE_TYPE is gpu and there is no CUDA device: run with COMPUTE_TYPE=cpu")
    device = torch.device("cuda" if compute_type != "cpu" and torch.cuda.is_available() else "cpu")

    paths = sorted(path for path in options.input_dir.rglob("*") if path.suffix.lower() in SUFFIXES)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(options.input_dir, options.models_dir, device)
    vectors = encode(paths, encoder, options.batch_size, options.output_dir)
    if len(vectors) < 2:
        print(f"{len(vectors)} readable photos in {options.input_dir}, at least 2 are needed: name a folder as `input`")
        return INPUT_ERROR
    matrix = torch.stack(list(vectors.values()))
    np.save(options.output_dir / "vectors.npy", matrix.numpy())
    write_similar(
        [str(path.relative_to(options.input_dir)) for path in vectors], matrix, options.output_dir / "similar.csv"
    )
    print(f"{len(vectors)} photos on {device}; see similar.csv and vectors.npy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
