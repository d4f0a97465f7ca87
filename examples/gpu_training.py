"""Trains a small network to repaint a photo from its coordinates alone. An example of a GPU job that survives spot.

    python examples/gpu_training.py --output-dir out --steps 500

It learns colour from position (a coordinate network with Fourier features, Tancik et al. 2020) on the first photo of
INPUT_DIR, or on a picture that it paints itself. SIGTERM writes a checkpoint and exits with 75: the platform starts it
again, and it goes on where it was. Set the device with COMPUTE_TYPE: `gpu` requires one, `cpu` uses none.
"""

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

INTERRUPTED = 75  # a checkpoint is written: start me again
SIZE = 128  # pixels of the longer side


def load_picture(input_dir: Path) -> torch.Tensor:
    """Height x width x 3, from 0 to 1."""
    photos = sorted(path for path in input_dir.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if photos:
        with Image.open(photos[0]) as photo:
            photo.thumbnail((SIZE, SIZE))
            return torch.from_numpy(np.asarray(photo.convert("RGB"), dtype=np.float32) / 255)
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    rings = 0.5 + 0.5 * torch.cos(18 * (x**2 + y**2))
    return torch.stack([rings, (x + 1) / 2, (y + 1) / 2], dim=-1)


def coordinates(height: int, width: int) -> torch.Tensor:
    """One row of Fourier features per pixel."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    position = torch.stack([x, y], dim=-1).reshape(-1, 2)
    waves = position @ (torch.randn(2, 64, generator=torch.Generator().manual_seed(0)) * 6)
    return torch.cat([waves.sin(), waves.cos()], dim=-1)


def choose_device(compute_type: str) -> torch.device:
    if compute_type == "gpu" and not torch.cuda.is_available():
        sys.exit("COMPUTE_TYPE is gpu and there is no CUDA device: run with COMPUTE_TYPE=cpu to train on the CPU")
    return torch.device("cuda" if compute_type != "cpu" and torch.cuda.is_available() else "cpu")


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """A file that is whole or not there, also when the machine goes away in the middle."""
    beside = path.with_name(path.name + ".tmp")
    write(beside)
    beside.replace(path)


class NetworkTraining:
    """The model and how far it is, kept in a checkpoint."""

    def __init__(self, features: torch.Tensor, colours: torch.Tensor, checkpoint: Path) -> None:
        self.features, self.colours, self.checkpoint = features, colours, checkpoint
        self.step = 0
        self.model = torch.nn.Sequential(
            torch.nn.Linear(features.shape[1], 128), torch.nn.ReLU(),
            torch.nn.Linear(128, 128), torch.nn.ReLU(),
            torch.nn.Linear(128, 3), torch.nn.Sigmoid(),
        ).to(features.device)  # fmt: skip
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)

    def resume(self) -> None:
        if not self.checkpoint.exists():
            return
        saved = torch.load(self.checkpoint, map_location=self.features.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]
        print(f"going on from step {self.step}")

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        write_beside(self.checkpoint, lambda path: torch.save(state, path))

    def advance(self) -> float:
        loss = torch.nn.functional.mse_loss(self.model(self.features), self.colours)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item()


def write_results(training: NetworkTraining, height: int, width: int, output_dir: Path) -> None:
    with torch.no_grad():
        painted = training.model(training.features)
        psnr = -10 * math.log10(torch.nn.functional.mse_loss(painted, training.colours).item())
    torch.save({"model": training.model.state_dict(), "height": height, "width": width}, output_dir / "model.pt")
    pixels = (painted.reshape(height, width, 3).cpu().numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(output_dir / "repainted.png")
    metrics = {"psnr_db": round(psnr, 2), "steps": training.step, "device": str(painted.device)}
    (output_dir / "metrics.json").write_text(json.dumps(metrics, indent=1))
    print(f"done: {metrics}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-dir", type=Path, default=os.environ.get("INPUT_DIR", "input"))
    parser.add_argument("--output-dir", type=Path, default=os.environ.get("OUTPUT_DIR", "output"))
    parser.add_argument("--checkpoint-dir", type=Path, default=os.environ.get("CHECKPOINT_DIR", "checkpoints"))
    parser.add_argument("--steps", type=int, default=os.environ.get("PARAM_STEPS", "1000"))
    options = parser.parse_args()
    for folder in (options.output_dir, options.checkpoint_dir):
        folder.mkdir(parents=True, exist_ok=True)

    stop_asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_asked.append(number))

    torch.manual_seed(0)
    device = choose_device(os.environ.get("COMPUTE_TYPE", ""))
    picture = load_picture(options.input_dir)
    height, width, _ = picture.shape
    checkpoint = options.checkpoint_dir / "training.pt"
    training = NetworkTraining(coordinates(height, width).to(device), picture.reshape(-1, 3).to(device), checkpoint)
    training.resume()

    while training.step < options.steps:
        if stop_asked:
            training.save()
            print(f"told to stop: checkpoint written at step {training.step}")
            return INTERRUPTED
        loss = training.advance()
        if training.step % 50 == 0:
            training.save()
            progress = {"done": training.step, "total": options.steps, "fraction": training.step / options.steps}
            (options.output_dir / "progress.json").write_text(json.dumps(progress))
            print(f"step {training.step} of {options.steps}, loss {loss:.5f}")

    write_results(training, height, width, options.output_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
