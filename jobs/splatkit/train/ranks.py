"""The processes of one training, one per GPU: what they tell each other.

Each holds a share of the Gaussians and renders a photo of its own, as in gsplat's distributed mode. What is said here
travels between CPUs (gloo), on any machine; only gsplat's rendering goes from GPU to GPU (NCCL).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """All of them call each method at the same place, or all wait for each other forever."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def join(self, rendezvous: str, device: torch.device) -> None:
        """rendezvous: a file that does not exist yet, the same for all."""
        if self.count == 1:
            return
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: nothing is to listen on its network
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        where = f"file://{rendezvous}"
        dist.init_process_group(backend, init_method=where, rank=self.rank, world_size=self.count)
        if device.type == "cuda":  # NCCL wants one collective of all before the first exchange in pairs
            dist.all_reduce(torch.zeros(1, device=device))

    def leave(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()

    def any(self, flag: bool) -> bool:
        """Whether it is so on one of them: decisions must be the same everywhere."""
        return bool(self._summed(torch.tensor([float(flag)])) > 0)

    def mean(self, value: float) -> float:
        return float(self._summed(torch.tensor([value], dtype=torch.float64))) / self.count

    def add(self, tensor: Tensor) -> None:
        """Makes it the sum over all, in place."""
        if self.count > 1:
            tensor.copy_(self._summed(tensor.cpu()))

    def merged(self, tensor: Tensor) -> Tensor:
        """Everyone's rows one after another, on the first's CPU; the others get nothing of use."""
        own = tensor.detach().cpu().contiguous()
        if self.count == 1:
            return own
        sizes = self.sizes(len(own))
        if not self.first:
            dist.send(own, 0)
            return own
        parts = [own]
        for rank in range(1, self.count):
            part = own.new_empty(sizes[rank], *own.shape[1:])
            dist.recv(part, rank)
            parts.append(part)
        return torch.cat(parts)

    def sizes(self, own: int) -> list[int]:
        """Everyone's number."""
        if self.count == 1:
            return [own]
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(found, torch.tensor([own]))
        return [int(size) for size in found]

    def rows(self, sizes: list[int]) -> Tensor:
        """Which rows of what was merged are this rank's; dealt anew where it was of another number of ranks."""
        if len(sizes) != self.count:
            return torch.arange(self.rank, sum(sizes), self.count)
        begin = sum(sizes[: self.rank])
        return torch.arange(begin, begin + sizes[self.rank])

    def _summed(self, tensor: Tensor) -> Tensor:
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor


ALONE = Ranks()


def map_rows(tree: Any, count: int, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nested dicts and lists with each tensor that has one row per Gaussian changed, others as they are."""
    if isinstance(tree, Tensor):
        return change(tree) if tree.dim() and len(tree) == count else tree
    if isinstance(tree, dict):
        # A table of binomials, which may have as many rows as there are Gaussians.
        return {k: v if k == "binoms" else map_rows(v, count, change) for k, v in tree.items()}
    return [map_rows(v, count, change) for v in tree] if isinstance(tree, list) else tree


class _Gathered(torch.autograd.Function):
    """[N, D] rows of each to the rows of all; backward, each gets the gradients of its own rows from all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        sizes = ranks.sizes(len(own))
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.ranks, ctx.sizes = ranks, sizes
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone()
        ctx.ranks.add(summed)
        return summed[ctx.ranks.rows(ctx.sizes)], None


def rasterization_of_all(rasterize: Callable[..., Any], ranks: Ranks) -> Callable[..., Any]:
    """gsplat's distributed mode for a rasterizer that has none: every rank renders all Gaussians."""

    def render(*, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, **more: Any) -> Any:
        shapes = (3, 4, 3, 1, colors[0].numel())
        packed = torch.cat([means, quats, scales, opacities[:, None], colors.flatten(1)], 1)
        parts = _Gathered.apply(packed, ranks).split(shapes, 1)
        means, quats, scales = (part.contiguous() for part in parts[:3])
        colors = parts[4].reshape(-1, *colors.shape[1:])
        return rasterize(means=means, quats=quats, scales=scales, opacities=parts[3][:, 0], colors=colors, **more)

    return render
