"""A picture for lists and e-mails, and a short film that goes once around the scene."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from splatkit.threads import cores
from splatkit.view.rendering import Renderer, to_bytes
from splatkit.view.shots import Framing, Shot, ring
from splatkit.whole_files import whole_file

WIDTH, HEIGHT = 640, 480
FRAMES_PER_SECOND = 20
ELEVATION = (20.0,)  # degrees
QUALITY = "23"  # constant rate factor of H.264


def write_thumbnail(path: Path, renderer: Renderer, shot: Shot) -> None:
    with whole_file(path) as beside:
        Image.fromarray(to_bytes(renderer.render(shot))).save(beside, "PNG", optimize=True)


def write_turntable(
    path: Path, renderer: Renderer, frame: Framing, frames: int, start: float, between: Callable[[int, int], None]
) -> None:
    """From the azimuth `start` once around, as H.264 in MP4 that starts to play before it is whole (faststart)."""
    import av  # here, since encoding a large scene can do without what it takes

    faststart = {"movflags": "faststart"}
    with whole_file(path) as beside, av.open(str(beside), "w", format="mp4", options=faststart) as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = cores()
        stream.options = {"crf": QUALITY}
        for i, shot in enumerate(ring(frame, frames, WIDTH, HEIGHT, ELEVATION, start)):
            between(i, frames)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(to_bytes(renderer.render(shot))), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
