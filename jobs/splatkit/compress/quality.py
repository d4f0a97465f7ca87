"""What compression cost: per attribute, and in the pictures that people will see."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatkit.formats.paletted import Paletted, own_palette
from splatkit.formats.spool import release
from splatkit.orientation import rotation_matrices
from splatkit.splats import Floats, Splats, unit_quats
from splatkit.view.rendering import Renderer, psnr, read_photo, ssim
from splatkit.view.shots import Shot

ROWS_AT_ONCE = 1 << 14
USUAL_PSNR = 30.0  # dB between a good training's renders and the photos, where no photo is there to ask


@dataclass(frozen=True)
class ViewScore:
    name: str
    psnr: float  # between the renders before and after, dB
    ssim: float
    psnr_before: float | None  # against the photo
    psnr_after: float | None
    ssim_before: float | None
    ssim_after: float | None


@dataclass(frozen=True)
class Quality:
    views: tuple[ViewScore, ...]
    loss_db: float  # what the pictures lost against reality
    measured: str  # against which photos; "" where estimated from the renders before and after, for a usual training

    @property
    def summary(self) -> dict[str, Any]:
        means = {"psnr": _mean([v.psnr for v in self.views]), "ssim": _mean([v.ssim for v in self.views])}
        for name in ("psnr_before", "psnr_after", "ssim_before", "ssim_after"):
            against = [value for view in self.views if (value := getattr(view, name)) is not None]
            means |= {f"photo_{name}": _mean(against)} if against else {}
        kind = (
            f"measured against {self.measured}" if self.measured else f"estimated for a training of {USUAL_PSNR:g} dB"
        )
        return {**means, "loss_db": round(self.loss_db, 4), "loss_is": kind, "views": len(self.views)}

    def as_json(self) -> dict[str, Any]:
        return {**self.summary, "by_view": [asdict(view) for view in self.views]}


class Judge:
    """Renders the original once and compares any number of results with it."""

    def __init__(
        self, source: Splats, shots: Sequence[Shot], between: Callable[[int, int], None], photos: str = "photos"
    ) -> None:
        """`photos` names those of the shots: what was trained on is another judge than what was held out."""
        self.on_white = source.on_white
        renderer = Renderer(own_palette(source), self.on_white)
        self.shots, self._between, self._kind, self._before = shots, between, photos, []
        for i, shot in enumerate(shots):
            between(i, len(shots))
            self._before.append(renderer.render(shot))
        self._photos = [read_photo(s.photo, s.width, s.height) if s.photo else None for s in shots]

    def compare(self, result: Paletted) -> Quality:
        renderer = Renderer(result, self.on_white)
        views = []
        for i, (shot, before, photo) in enumerate(zip(self.shots, self._before, self._photos, strict=True)):
            self._between(i, len(self.shots))
            views.append(_score(shot.name, before, renderer.render(shot), photo))
        with_photo = [view for view in views if view.psnr_before is not None]
        if with_photo:
            loss = _mean([(v.psnr_before or 0) - (v.psnr_after or 0) for v in with_photo])
        else:
            loss = estimated_loss(_mean([view.psnr for view in views]))
        return Quality(tuple(views), loss, self._kind if with_photo else "")


def estimated_loss(between: float, training: float = USUAL_PSNR) -> float:
    """dB that a training of so many dB loses by an independent error of `between` dB."""
    return 10 * math.log10(1 + 10 ** ((training - between) / 10))


def attribute_errors(source: Splats, order: NDArray[np.integer], result: Paletted) -> dict[str, dict[str, float]]:
    """RMSE and PSNR (over the source's range) per attribute; `order` are the source's rows as they come in the result.

    Both must be in the same orientation. Piece by piece, as copies of whole scenes would fill the memory.
    """
    errors: dict[str, _Error] = {}
    through = np.argsort(order)  # as the source lies in its file
    for start in range(0, len(order), ROWS_AT_ONCE):
        part = through[start : start + ROWS_AT_ONCE]
        for name, (before, after) in _attributes(source.take(order[part]), result.part(part)).items():
            errors.setdefault(name, _Error()).add(before, after)
        release(source.shN)
    return {name: error.as_json() for name, error in errors.items()}


def _attributes(source: Splats, result: Splats) -> dict[str, tuple[Floats, Floats]]:
    quats = unit_quats(result.quats)
    signs = np.sign((source.quats * quats).sum(axis=1, keepdims=True))
    pairs = {
        "means": (source.means, result.means),
        "scales": (source.scales, result.scales),
        "quats": (source.quats, quats * np.where(signs == 0, 1, signs)),
        "alpha": (source.alphas, result.alphas),
        "sh0": (source.sh0, result.sh0),
    }
    if source.sh_degree:
        left_out = source.shN.shape[1] - result.shN.shape[1]
        pairs["shN"] = (source.shN, np.pad(result.shN, ((0, 0), (0, left_out), (0, 0))))
    return pairs


def covariances(splats: Splats) -> Floats:
    """[N, 3, 3], the same for all ways to write a Gaussian."""
    turned = rotation_matrices(unit_quats(splats.quats)) * np.exp(splats.scales)[:, None, :]
    return np.einsum("nij,nkj->nik", turned, turned)


@dataclass
class _Error:
    squared: float = 0.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, before: Floats, after: Floats) -> None:
        self.squared += float(((before.astype(np.float64) - after) ** 2).sum())
        self.count += before.size
        self.low, self.high = min(self.low, float(before.min())), max(self.high, float(before.max()))

    def as_json(self) -> dict[str, float]:
        mean = self.squared / self.count
        peak = self.high - self.low or 1.0
        return {"rmse": math.sqrt(mean), "psnr": round(10 * math.log10(peak**2 / max(mean, 1e-20)), 2)}


def _score(name: str, before: Floats, after: Floats, photo: Floats | None) -> ViewScore:
    between = round(psnr(after, before), 3), round(ssim(after, before), 5)
    if photo is None:
        return ViewScore(name, *between, None, None, None, None)
    psnrs = round(psnr(before, photo), 4), round(psnr(after, photo), 4)
    return ViewScore(name, *between, *psnrs, round(ssim(before, photo), 5), round(ssim(after, photo), 5))


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)
