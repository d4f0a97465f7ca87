"""Saves what gsplat renders of a small scene, for machines without a GPU to compare with.

    python tests/gpu/make_fixture.py

writes tests/gpu/gsplat.npz: inputs, outputs, and the versions and GPU that made them. Needs CUDA and gsplat.
"""

import sys

import gsplat
import numpy as np
import torch
from gsplat_scene import FIXTURE, MODES, outputs, scene


def main() -> int:
    if not torch.cuda.is_available():
        print("make_fixture: no GPU is there, and gsplat renders on one only", file=sys.stderr)
        return 2
    values = scene()
    saved = {f"input/{name}": value.numpy() for name, value in values.items()}
    for mode in MODES:
        found = outputs(gsplat.rasterization, values, mode, "cuda")
        saved |= {f"{mode}/{name}": value.numpy() for name, value in found.items()}
    made_by = f"gsplat {gsplat.__version__}, torch {torch.__version__}, {torch.cuda.get_device_name()}"
    np.savez_compressed(FIXTURE, made_by=made_by, **saved)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size / 1e3:.0f} kB by {made_by}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
