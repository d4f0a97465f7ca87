"""The training itself: one step, its loss, and all that must be saved to go on from it."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatkit.train.backend import Backend
from splatkit.train.gaussians import (
    BYTES_PER_GAUSSIAN,
    SKY_DISTANCE,
    from_points,
    haste,
    keep_most_opaque,
    narrow,
    optimizers,
    parameters,
    set_rates,
    with_sky,
)
from splatkit.train.loss_watch import LossWatch
from splatkit.train.options import TrainOptions
from splatkit.train.photo_cache import CachedPhoto, PhotoCache
from splatkit.train.ranks import ALONE, Ranks, map_rows
from splatkit.train.scene import Scene
from splatkit.train.strategy import refinement

# Share of coarse_until up to which photos are shrunk so much and blurred by so many tenths of a pixel (Trick-GS).
COARSE = ((0.4, 4, 5), (0.75, 2, 5), (1.0, 1, 10))
SH_STEP = 1 / 30  # share of the steps after which one more degree of spherical harmonics is used
MEMORY_SHARE, FEWEST_HELD = 0.6, 1_000  # of what is free, for Gaussians, and so many even in less
EXPOSURE_RATE = 1e-3
NARROW_EVERY = 10  # updates, and so many more for each
NARROW_PAIRS = 1 << 27  # pairs of a Gaussian and a camera, so that millions of Gaussians do not wait for it
START = {"mcmc": (0.5, 1.0), "default": (0.1, 1.0)}  # opacity of the first Gaussians, and width in neighbour distances
SKY_GAUSSIANS, SKY_SHARE = 4_000, 0.25  # at most, and of the cap


@dataclass(frozen=True)
class Render:
    image: Tensor  # [H, W, 3]
    alpha: Tensor  # [H, W, 1]
    info: dict[str, Any]


class Training:
    """Everything that changes while it trains; `state()` and `restore()` carry it across a restart, bit for bit."""

    def __init__(
        self, scene: Scene, options: TrainOptions, backend: Backend, photos: PhotoCache, cap: int, ranks: Ranks = ALONE
    ) -> None:
        """cap: most Gaussians of all ranks together. With N ranks, N steps are taken at once, a photo on each."""
        self.scene, self.options, self.backend, self.photos = scene, options, backend, photos
        self.ranks, self.cap = ranks, max(1, cap // ranks.count)
        self.max_steps, self.sh_degree = options.of_preset("max_steps"), options.of_preset("sh_degree")
        self.train_views, self.held_out = scene.split(options.hold_out_every, options.first_held_out)
        self.processes = 1  # that trained what gather() put together
        self.step = 0  # photos seen, by all ranks
        torch.manual_seed(options.seed + ranks.rank)
        self._sampler = torch.Generator().manual_seed(options.seed)
        self._order: list[int] = []
        self.watch = LossWatch()
        self.history: list[dict[str, float]] = []  # evaluations
        self.seconds = 0.0  # of training, over all attempts
        self.saving = 0.0  # of writing checkpoints, in this attempt
        opacity, scale = START[options.strategy]
        sky = min(SKY_GAUSSIANS, int(SKY_SHARE * cap)) if options.sky else 0
        start = from_points(
            scene.points,
            scene.colors,
            sh_degree=self.sh_degree,
            opacity=opacity,
            scale=scale,
            cap=cap - sky,
            seed=options.seed,
        )
        if sky:
            start = with_sky(start, self.sh_degree, sky)
        self._take({name: value[ranks.rank :: ranks.count] for name, value in start.items()})
        self.refinement = refinement(
            options.strategy, steps=-(-self.max_steps // ranks.count), cap=self.cap, refine_every=options.refine_every,
            grow_gradient=options.grow_gradient, absgrad=options.absgrad, min_opacity=options.min_opacity,
            sky=SKY_DISTANCE / 2 if sky else math.inf,
        )  # fmt: skip
        self.exposures = torch.zeros(len(scene.views), 2, 3, device=backend.device, requires_grad=True)
        self._exposure_tool = torch.optim.Adam([self.exposures], lr=EXPOSURE_RATE)
        self._cameras = torch.tensor(np.stack([v.camera_from_world for v in scene.views]), dtype=torch.float32)
        eyes = np.stack([scene.views[i].centre for i in self.train_views])
        self._eyes = torch.tensor(eyes, dtype=torch.float32, device=backend.device)

    def _take(self, values: Mapping[str, Tensor]) -> None:
        self.values = parameters(values, self.backend.device)
        self.tools = optimizers(self.values, haste(self.max_steps), self.ranks.count)

    @property
    def count(self) -> int:
        """Gaussians of this rank."""
        return len(self.values["means"])

    @property
    def updates(self) -> int:
        return self.step // self.ranks.count

    def render(self, index: int, photo: CachedPhoto, frame: tuple[int, int] | None = None, **more: Any) -> Render:
        """Render view `index` at the scale of `photo`. frame: width and height to render, at least the photo's."""
        height, width = photo.pixels.shape[:2]
        lens = torch.tensor(photo.intrinsics)
        full_width, full_height = frame or (width, height)
        whole = self.render_from(self._cameras[index], lens, full_width, full_height, **more)
        return Render(whole.image[:height, :width], whole.alpha[:height, :width], whole.info)

    def render_from(
        self, camera: Tensor, intrinsics: Tensor, width: int, height: int, *, background: Tensor | None = None,
        sh_degree: int | None = None, dropout: float = 0.0,
    ) -> Render:  # fmt: skip
        """dropout: share of the Gaussians that are left out; the others are made so much more opaque."""
        device, opacities = self.backend.device, self.values["opacities"].sigmoid()
        if dropout:
            opacities = torch.nn.functional.dropout(opacities, dropout)
        images, alphas, info = self.backend.rasterize(
            means=self.values["means"], quats=self.values["quats"], scales=self.values["scales"].exp(),
            opacities=opacities,
            colors=torch.cat([self.values["sh0"], self.values["shN"]], 1),
            viewmats=camera[None].to(device), Ks=intrinsics[None].to(device), width=width, height=height,
            sh_degree=self.sh_degree if sh_degree is None else sh_degree,
            backgrounds=None if background is None else background[None],
            absgrad=self.options.absgrad, rasterize_mode="antialiased" if self.options.antialiased else "classic",
        )  # fmt: skip
        return Render(images[0], alphas[0], info)

    def train_step(self) -> None:
        """One photo on each rank, one update. Raises DivergedError, on all, before a bad loss has changed anything."""
        progress = self.step / self.max_steps
        shrink, blur = coarseness(progress, self.options.coarse_until)
        index, frame = self._next_view(shrink, blur)
        photo = self.photos.get(index, shrink, blur)
        degree, dropout = min(self.sh_degree, int(progress / SH_STEP)), progress * self.options.share("dropout")
        rendered = self.render(
            index, photo, frame, background=self._background(), sh_degree=degree, dropout=dropout
        )  # fmt: skip
        self.refinement.before_backward(self.values, self.tools, self.updates, rendered.info)
        loss = self._loss(index, photo, rendered.image)
        if self.updates % self.backend.look_every == 0:
            self.watch.look(self.step, self.ranks.mean(float(loss.detach())), self._looks_per_round)
        loss.backward()
        rate = set_rates(self.tools, progress, haste(self.max_steps), self.ranks.count)
        for tool in self.tools.values():
            tool.step()
            tool.zero_grad(set_to_none=True)
        if self.options.exposure:
            self._update_exposures()
        self.refinement.after_step(self.values, self.tools, self.updates, rendered.info, rate)
        if (widest := self.options.share("max_scale")) and self.updates % self._narrow_every == 0:
            narrow(self.values, self._eyes, widest)
        self.step += self.ranks.count

    @property
    def _narrow_every(self) -> int:
        return NARROW_EVERY * (1 + len(self.values["means"]) * len(self._eyes) // NARROW_PAIRS)

    def _loss(self, index: int, photo: CachedPhoto, image: Tensor) -> Tensor:
        target = torch.tensor(photo.pixels, device=self.backend.device).float() / 255
        if self.options.exposure:
            image = self._exposed(index, image)
        if photo.mask is not None:
            mask = (torch.tensor(photo.mask).to(self.backend.device) > 0)[..., None]
            image, target = image * mask, target * mask
        share = self.options.ssim_weight
        loss = (1 - share) * (image - target).abs().mean() + share * (1 - self.backend.ssim(image, target))
        if weight := self.options.weight("opacity_weight"):
            loss = loss + weight * self.values["opacities"].sigmoid().mean()
        if weight := self.options.weight("scale_weight"):
            loss = loss + weight * self.values["scales"].exp().mean()
        return loss

    def _exposed(self, index: int, image: Tensor) -> Tensor:
        """Gain and offset per channel: what a camera's automatic exposure and white balance do, near enough."""
        return image * self.exposures[index, 0].exp() + self.exposures[index, 1]

    def _update_exposures(self) -> None:
        if self.exposures.grad is not None:
            self.ranks.add(self.exposures.grad)
        self._exposure_tool.step()
        self._exposure_tool.zero_grad()
        with torch.no_grad():  # the mean photo stays as it is, or all could drift together against the colours
            used = self.exposures[self.train_views]
            self.exposures[self.train_views] = used - used.mean(0, keepdim=True)

    @property
    def backdrop(self) -> Tensor | None:
        """What evaluations and pictures are rendered on: photos on white are not judged on black. None: black.

        A training on random colours is shown on black, as viewers do.
        """
        return torch.ones(3, device=self.backend.device) if self.options.background == "white" else None

    def _background(self) -> Tensor | None:
        """Of one step."""
        if self.options.background == "random":
            return torch.rand(3).to(self.backend.device)
        return self.backdrop

    @property
    def _looks_per_round(self) -> float:
        return len(self.train_views) / (self.ranks.count * self.backend.look_every)

    @torch.no_grad()
    def broken(self) -> int:
        """Gaussians of all ranks that are not finite; between two looks at the loss they can be any number."""
        whole = torch.ones(self.count, dtype=torch.bool, device=self.backend.device)
        for value in self.values.values():
            if value.numel():
                whole &= value.isfinite().reshape(self.count, -1).all(1)
        return sum(self.ranks.sizes(int((~whole).sum())))

    def _next_view(self, shrink: int, blur: int) -> tuple[int, tuple[int, int]]:
        """This rank's photo, and the largest width and height of all ranks' photos, which gsplat wants to be alike.

        Each photo comes once per round, in a new order each round; those after it are loaded meanwhile.
        """
        rank, count, ahead = self.ranks.rank, self.ranks.count, self.photos.ahead
        while len(self._order) < (1 + ahead) * count:
            round_ = torch.randperm(len(self.train_views), generator=self._sampler).tolist()
            self._order += [self.train_views[i] for i in round_]
        self.photos.enter(shrink, blur)
        for coming in self._order[count + rank : (1 + ahead) * count : count]:
            self.photos.prefetch(coming, shrink, blur)
        now, self._order = self._order[:count], self._order[count:]
        widths, heights = zip(*(self.photos.size(index, shrink) for index in now), strict=True)
        return now[rank], (max(widths), max(heights))

    def state(self) -> dict[str, Any]:
        """Plain tensors, numbers and lists, to be read back without running code; whole on the first rank only."""
        own = {
            "values": {name: value.detach() for name, value in self.values.items()},
            "tools": {name: tool.state_dict() for name, tool in self.tools.items()},
            "strategy": dict(self.refinement.state),
        }
        cuda = self.backend.device.type == "cuda"
        return {
            **map_rows(own, self.count, self.ranks.merged),
            "sizes": self.ranks.sizes(self.count),
            "random": self.ranks.merged(torch.get_rng_state()[None]),
            "random_cuda": self.ranks.merged(torch.cuda.get_rng_state()[None]) if cuda else None,
            "step": self.step,
            "exposures": self.exposures.detach().cpu(),
            "exposure_tool": self._exposure_tool.state_dict(),
            "sampler": self._sampler.get_state(),
            "order": list(self._order),
            "watch": self.watch.state(),
            "history": [dict(row) for row in self.history],
            "seconds": self.seconds,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Also what another number of ranks saved: Gaussians are dealt anew. The most opaque, if the cap is lower."""
        rows = self.ranks.rows(saved["sizes"])
        rows = rows[keep_most_opaque({"opacities": saved["values"]["opacities"][rows]}, self.cap)]
        own = {part: saved[part] for part in ("values", "tools", "strategy")}
        # Copies, or the training would go on in the caller's tensors.
        own = copy.deepcopy(map_rows(own, sum(saved["sizes"]), lambda tensor: tensor[rows]))
        self._take(own["values"])
        for name, tool in self.tools.items():
            tool.load_state_dict(own["tools"][name])
        state = copy.deepcopy({k: v for k, v in saved.items() if k not in own})
        device = self.backend.device
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in own["strategy"].items()}
        self.refinement.state.update(moved)
        with torch.no_grad():
            self.exposures.copy_(state["exposures"])
        self._exposure_tool.load_state_dict(state["exposure_tool"])
        self._restore_dice(state)
        self._sampler.set_state(state["sampler"])
        self._order = list(state["order"])
        self.watch.restore(state["watch"])
        self.history = [dict(row) for row in state["history"]]
        self.step, self.seconds = state["step"], state["seconds"]

    def _restore_dice(self, state: Mapping[str, Any]) -> None:
        if len(state["random"]) != self.ranks.count:
            torch.manual_seed(self.options.seed + state["step"] + self.ranks.rank)
            return
        # Cloned: torch 2.13 reads past a row of a larger tensor.
        torch.set_rng_state(state["random"][self.ranks.rank].clone())
        if state["random_cuda"] is not None and self.backend.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"][self.ranks.rank].clone())

    def gather(self, alone: Callable[[], Backend]) -> None:
        """The first rank takes all Gaussians, to go on without the others; there is no training after it."""
        if self.ranks.count == 1:
            return
        self.processes = self.ranks.count
        whole = {name: self.ranks.merged(value) for name, value in self.values.items()}
        if self.ranks.first:
            self.ranks, self.backend, self.tools = ALONE, alone(), {}
            self.values = parameters(whole, self.backend.device)

    def release(self) -> None:
        """Frees what only training needs: rendering is all that can follow."""
        self.tools, self.refinement.state = {}, {}
        for value in self.values.values():
            value.grad = None
        if self.backend.device.type == "cuda":
            torch.cuda.empty_cache()


def coarseness(progress: float, until: float) -> tuple[int, int]:
    """How much smaller (a divisor) and how blurred (tenths of a pixel) photos are at this share of the training."""
    for share, shrink, blur in COARSE:
        if progress < share * until:
            return shrink, blur
    return 1, 0


def largest_cap(options: TrainOptions, backend: Backend, ranks: Ranks = ALONE) -> int:
    """The preset's or the option's, but no more than memory holds, of all ranks together."""
    holds = min(ranks.sizes(int(backend.free_bytes() * MEMORY_SHARE / BYTES_PER_GAUSSIAN)))
    if backend.device.type == "cuda":
        holds *= ranks.count
    return min(options.of_preset("cap_max"), max(FEWEST_HELD, holds))
