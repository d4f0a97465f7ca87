"""How Gaussians are added, moved and removed: gsplat's own two strategies, on a GPU and on a CPU alike."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gsplat.strategy import DefaultStrategy, MCMCStrategy, ops
from numba import njit
from torch import Tensor

from splatkit.threads import in_parallel
from splatkit.train.gaussians import Optimizers, Parameters
from splatworks.contract.stages.train import Strategy

SHORT = 10_000  # steps; in less than that, MCMC's moves must end early, or what they stir up cannot settle
MCMC_UNTIL, SHORT_MCMC_UNTIL, DEFAULT_UNTIL = (
    0.83,
    0.5,
    0.5,
)  # share of the steps after which the set of Gaussians stays
FIRST_REFINEMENT = 0.0167  # share of the steps
# Share of the steps, default strategy: after it, what is too large is removed as well. gsplat means to lower all
# opacities so often, too, but 1.5.3 never does: `step % reset_every == 0 & step > 0` is a chain of comparisons that is
# always false. We leave it so: its published results are made without. A test tells when a version brings it back.
RESET_EVERY = 0.1


@dataclass
class Refinement:
    """One of the strategies with its state and its schedule, which scales with the number of steps."""

    name: Strategy
    strategy: Any
    state: dict[str, Any]

    def before_backward(self, values: Parameters, tools: Optimizers, step: int, info: dict[str, Any]) -> None:
        self.strategy.step_pre_backward(values, tools, self.state, step, info)

    def after_step(self, values: Parameters, tools: Optimizers, step: int, info: dict[str, Any], rate: float) -> None:
        if self.name == "mcmc":
            self.strategy.step_post_backward(values, tools, self.state, step, info, rate)
            return
        self.strategy.step_post_backward(values, tools, self.state, step, info)


@dataclass
class CappedStrategy(DefaultStrategy):
    """gsplat's, which knows no bound, growing into the room that is left, where the gradients are largest."""

    cap: int = 0
    sky: float = math.inf  # distance from the scene's middle beyond which nothing is too large

    @torch.no_grad()
    def _grow_gs(self, params: Any, optimizers: Any, state: dict[str, Any], step: int) -> tuple[int, int]:
        room = max(0, self.cap - len(params["means"]))
        mean = state["grad2d"] / state["count"].clamp_min(1)
        if (mean > self.grow_grad2d).sum() > room:  # each of them adds one
            chosen = mean.topk(room).indices
            kept = torch.zeros_like(mean).index_fill_(0, chosen, 1)
            state["grad2d"] = state["grad2d"] * kept  # begins anew after this, anyway
        grown: tuple[int, int] = super()._grow_gs(params, optimizers, state, step)
        return grown

    @torch.no_grad()
    def _prune_gs(self, params: Any, optimizers: Any, state: dict[str, Any], step: int) -> int:
        unit = state["scene_scale"]
        if math.isfinite(self.sky):
            far = params["means"].norm(dim=-1) > self.sky
            state["scene_scale"] = torch.full_like(params["means"][:, 0], unit).masked_fill(far, math.inf)
        pruned: int = super()._prune_gs(params, optimizers, state, step)
        state["scene_scale"] = unit
        return pruned


def refinement(
    name: Strategy,
    *,
    steps: int,
    cap: int,
    refine_every: int,
    grow_gradient: float,
    absgrad: bool,
    min_opacity: float,
    sky: float = math.inf,
) -> Refinement:
    start = round(FIRST_REFINEMENT * steps)
    every = refine_every or max(10, round(steps / 300))
    if name == "mcmc":
        stop = round((MCMC_UNTIL if steps >= SHORT else SHORT_MCMC_UNTIL) * steps)
        mcmc = MCMCStrategy(
            cap_max=cap, refine_start_iter=start, refine_stop_iter=stop, refine_every=every, min_opacity=min_opacity
        )
        return Refinement(name, mcmc, mcmc.initialize_state())
    default = CappedStrategy(
        cap=cap,
        sky=sky,
        prune_opa=min_opacity,
        grow_grad2d=grow_gradient,
        refine_start_iter=start,
        refine_stop_iter=round(DEFAULT_UNTIL * steps),
        refine_every=every,
        reset_every=max(every, round(RESET_EVERY * steps)),
        absgrad=absgrad,
    )
    return Refinement(name, default, default.initialize_state(scene_scale=1.0))


_GSPLATS = {name: getattr(ops, name, None) for name in ("compute_relocation", "quat_scale_to_covar_preci")}


def use_cpu_operations() -> None:
    """MCMC calls two functions that gsplat has for CUDA only. Their names in gsplat 1.5.3 are pinned by a test."""
    for name in _GSPLATS:
        if not hasattr(ops, name):
            raise ImportError(f"this version of gsplat has no strategy.ops.{name}; 1.5.3 is needed")
    ops.compute_relocation = relocation
    ops.quat_scale_to_covar_preci = covariances


def use_cuda_operations() -> None:
    """gsplat's own again, where a training on a CPU has gone before in this process."""
    for name, function in _GSPLATS.items():
        setattr(ops, name, function)


@torch.no_grad()
def relocation(opacities: Tensor, scales: Tensor, ratios: Tensor, binoms: Tensor) -> tuple[Tensor, Tensor]:
    """Opacities and scales of n Gaussians in one place that together look as one did (Kheradmand et al. 2024, eq. 9).

    The paper's double sum over i <= n and k < i of binom(i-1, k) (-1)^k o^(k+1) / sqrt(k+1) is, by the hockey-stick
    identity, a single one with binom(n, k+1). It alternates, hence double precision.
    """
    largest = len(binoms)
    counts = ratios.long().clamp(1, largest)
    exact = opacities.double().clamp(max=1 - 1e-7)
    fresh = 1 - (1 - exact) ** (1 / counts)
    terms = torch.arange(1, int(counts.max()) + 1, dtype=torch.float64)
    table = torch.tensor(
        [[math.comb(n, k) for k in range(1, len(terms) + 1)] for n in range(largest + 1)], dtype=torch.float64
    )
    signs = torch.where(terms % 2 == 1, 1.0, -1.0) / terms.sqrt()
    below = (table[counts] * signs * fresh[:, None] ** terms).sum(1)
    return fresh.to(opacities), (scales.double() * (exact / below)[:, None]).to(scales)


def covariances(
    quats: Tensor, scales: Tensor, compute_covar: bool = True, compute_preci: bool = True, triu: bool = False
) -> tuple[Tensor, None]:
    """[N, 3, 3]; with the arguments of gsplat's function, of which the strategies use one combination."""
    if not compute_covar or compute_preci or triu:
        raise NotImplementedError("only full covariances are computed here")
    found = scales.new_empty(len(scales), 3, 3)
    in_parallel(len(scales), _covariances, quats.detach().numpy(), scales.detach().numpy(), found.numpy())
    return found, None


@njit(nogil=True, cache=True, error_model="numpy")
def _covariances(first, last, quats, scales, found):  # type: ignore[no-untyped-def]
    axes = np.empty((3, 3), np.float32)
    for n in range(first, last):
        w, x, y, z = quats[n]
        inverse = 1 / math.sqrt(w * w + x * x + y * y + z * z)
        w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
        axes[0, 0], axes[0, 1], axes[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
        axes[1, 0], axes[1, 1], axes[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
        axes[2, 0], axes[2, 1], axes[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        for k in range(3):
            for i in range(3):
                axes[i, k] *= scales[n, k]
        for i in range(3):
            for j in range(3):
                found[n, i, j] = axes[i, 0] * axes[j, 0] + axes[i, 1] * axes[j, 1] + axes[i, 2] * axes[j, 2]
