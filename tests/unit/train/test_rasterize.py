"""The CPU rasterizer against a plain double-precision reference, and against gsplat's own torch functions."""

from typing import Any

import numpy as np
import pytest
import reference_rasterizer as reference
import torch
from torch import Tensor

from splatkit.rasterizer.autograd import Projection, SphericalHarmonics
from splatkit.rasterizer.rasterize import rasterization
from splatkit.rasterizer.render import render
from splatkit.rasterizer.tile_lists import BLOCK, OPACITY, TILE, X, Y, tile_lists

pytestmark = pytest.mark.quality

WIDTH, HEIGHT = 75, 52  # neither a multiple of the tile
LEARNED = ("means", "quats", "scales", "opacities", "colors")
Scene = dict[str, Any]


def scene(count: int = 120, seed: int = 0, bands: int = 16, scale: float = -2.2) -> Scene:
    """A cloud that reaches beyond the frame, behind the camera and close to the lens."""
    dice = torch.Generator().manual_seed(seed)
    angle = torch.tensor(0.3)
    view = torch.eye(4)
    view[0, 0], view[0, 2], view[2, 0], view[2, 2] = angle.cos(), angle.sin(), -angle.sin(), angle.cos()
    view[:3, 3] = torch.tensor([0.1, -0.2, 3.0])
    return {
        "means": torch.randn(count, 3, generator=dice) * torch.tensor([1.6, 1.2, 1.4]),
        "quats": torch.randn(count, 4, generator=dice) * 3,
        "scales": torch.exp(torch.randn(count, 3, generator=dice) * 0.7 + scale),
        "opacities": torch.rand(count, generator=dice) * 0.998 + 0.001,
        "colors": torch.randn(count, bands, 3, generator=dice) * 0.4,
        "viewmats": view[None],
        "Ks": torch.tensor([[[60.0, 0, 36.0], [0, 57.0, 27.0], [0, 0, 1]]]),
    }


def learning(values: Scene, dtype: torch.dtype = torch.float32) -> Scene:
    return {k: v.detach().to(dtype).clone().requires_grad_(k in LEARNED) for k, v in values.items()}


def expected(values: Scene, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    parts = [values[name] for name in LEARNED]
    return reference.render(*parts, values["viewmats"][0], values["Ks"][0], WIDTH, HEIGHT, **options)


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Relative to the largest value: gradients of far-off Gaussians are sums of almost nothing."""
    assert ours.shape == theirs.shape
    worst = (ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)
    assert worst < tolerance, f"off by {worst:.2e} of the largest value"


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3, None])
def test_values_and_gradients_are_those_of_the_reference(sh_degree: int | None, antialiased: bool) -> None:
    values = scene(seed=7)
    if sh_degree is None:
        values["colors"] = values["colors"][:, 0].abs()
    behind = torch.tensor([0.2, 0.7, 0.4])
    ours, theirs = learning(values), learning(values, torch.float64)
    mode: Any = "antialiased" if antialiased else "classic"
    image, alpha, _ = rasterization(
        **ours, width=WIDTH, height=HEIGHT, sh_degree=sh_degree, backgrounds=behind[None], rasterize_mode=mode,
        render_mode="RGB+D",
    )  # fmt: skip
    options = {"sh_degree": sh_degree, "background": behind.double(), "antialiased": antialiased}
    want, want_alpha, want_depth = expected(theirs, **options)
    close(image[0, ..., :3], want, 2e-5)
    close(alpha[0, ..., 0], want_alpha, 2e-5)
    close(image[0, ..., 3], want_depth, 2e-5)

    dice = torch.Generator().manual_seed(1)
    for_image, for_alpha, for_depth = (torch.randn(HEIGHT, WIDTH, c, generator=dice) for c in (3, 1, 1))
    (image[0, ..., :3] * for_image + alpha[0] * for_alpha + image[0, ..., 3:] * for_depth).sum().backward()
    loss = want * for_image + want_alpha[..., None] * for_alpha + want_depth[..., None] * for_depth
    loss.sum().backward()
    for name in LEARNED:
        assert ours[name].grad is not None and theirs[name].grad is not None
        assert theirs[name].grad.abs().max() > 0
        close(ours[name].grad, theirs[name].grad, 5e-4)


@pytest.mark.parametrize("antialiased", [False, True])
def test_a_picture_without_gradients_is_the_same(antialiased: bool) -> None:
    values = scene(seed=5)
    values["colors"] = values["colors"][:, 0].abs()
    mode: Any = "antialiased" if antialiased else "classic"
    image, _, _ = rasterization(**values, width=WIDTH, height=HEIGHT, rasterize_mode=mode)
    gaussians = [values[name].numpy() for name in LEARNED]
    camera = values["viewmats"][0].numpy(), values["Ks"][0].numpy()
    np.testing.assert_array_equal(render(*gaussians, *camera, WIDTH, HEIGHT, antialiased), image[0].numpy())
    assert image.max() > 0.5


def test_an_opaque_crowd_ends_early_with_the_same_result() -> None:
    values = scene(count=600, seed=3, scale=-1.2)
    values["opacities"] = values["opacities"].clamp(min=0.9)
    ours, theirs = learning(values), learning(values, torch.float64)
    image, alpha, _ = rasterization(**ours, width=WIDTH, height=HEIGHT, sh_degree=3)
    want, want_alpha, _ = expected(theirs, sh_degree=3)
    assert want_alpha.min() > 0.99
    close(image[0], want, 1e-3)
    image.sum().backward()
    want.sum().backward()
    close(ours["colors"].grad, theirs["colors"].grad, 2e-3)
    close(alpha[0, ..., 0], want_alpha, 1e-3)


def test_projection_is_that_of_gsplats_torch_reference() -> None:
    peer = pytest.importorskip("gsplat.cuda._torch_impl", reason="needs gsplat: scripts/setup.sh test")
    values = scene(count=500, seed=5)
    covariances, _ = peer._quat_scale_to_covar_preci(values["quats"], values["scales"], True, False)
    _, means2d, depths, conics, compensations = peer._fully_fused_projection(
        values["means"], covariances, values["viewmats"], values["Ks"], WIDTH, HEIGHT, calc_compensations=True
    )
    parts = [values[name] for name in ("means", "quats", "scales", "opacities", "viewmats", "Ks")]
    ours = Projection.apply(*parts, WIDTH, HEIGHT, 0.3, 0.01, 1e10, 0.0, False)
    seen = (ours[4] > 0).all(-1)
    assert 100 < seen.sum() < 500
    for mine, theirs in zip(ours, (means2d, depths, conics, compensations), strict=False):
        torch.testing.assert_close(mine[seen], theirs[seen], rtol=2e-4, atol=2e-4)


def test_gradients_of_projection_are_those_of_gsplats_torch_reference() -> None:
    peer = pytest.importorskip("gsplat.cuda._torch_impl", reason="needs gsplat: scripts/setup.sh test")
    ours, theirs = (learning(scene(count=500, seed=5)) for _ in range(2))
    covariances, _ = peer._quat_scale_to_covar_preci(theirs["quats"], theirs["scales"], True, False)
    _, *wanted = peer._fully_fused_projection(
        theirs["means"], covariances, theirs["viewmats"], theirs["Ks"], WIDTH, HEIGHT, calc_compensations=True
    )
    parts = [ours[name] for name in ("means", "quats", "scales", "opacities", "viewmats", "Ks")]
    *found, radii = Projection.apply(*parts, WIDTH, HEIGHT, 0.3, 0.01, 1e10, 0.0, True)
    # Far from where one of the two cuts a Gaussian off, and from flat ones, whose compensation has no gradient.
    seen = (radii[0] > 0).all(-1) & (wanted[3][0].detach() > 0.1) & (wanted[1][0].detach() > 0.5)
    assert 80 < seen.sum() < 500
    dice = torch.Generator().manual_seed(2)
    weights = [torch.randn(x[0, seen].shape, generator=dice) for x in found]
    for outputs in (found, wanted):
        sum((x[0, seen] * w).sum() for x, w in zip(outputs, weights, strict=True)).backward()
    for name in ("means", "quats", "scales"):
        assert theirs[name].grad.abs().max() > 0
        close(ours[name].grad, theirs[name].grad.double(), 1e-3)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics_and_their_gradients_are_those_of_gsplats_torch_reference(degree: int) -> None:
    peer = pytest.importorskip("gsplat.cuda._torch_impl", reason="needs gsplat: scripts/setup.sh test")
    ours, theirs = (learning(scene(count=300, seed=6)) for _ in range(2))
    centre, seen = torch.tensor([0.2, -0.4, 0.9]), torch.ones(300, dtype=torch.bool)
    found = SphericalHarmonics.apply(ours["means"], ours["colors"], centre, seen, degree)
    wanted = (peer._spherical_harmonics(degree, theirs["means"] - centre, theirs["colors"]) + 0.5).clamp(min=0)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    weights = torch.randn(300, 3, generator=torch.Generator().manual_seed(3))
    for colors in (found, wanted):
        (colors * weights).sum().backward()
    close(ours["colors"].grad, theirs["colors"].grad.double(), 1e-5)
    if degree:
        close(ours["means"].grad, theirs["means"].grad.double(), 1e-4)


def test_several_cameras_are_rendered_as_one_by_one() -> None:
    values = scene()
    other = values["viewmats"].clone()
    other[0, :3, 3] = torch.tensor([-0.4, 0.3, 4.0])
    both = {**values, "viewmats": torch.cat([values["viewmats"], other]), "Ks": values["Ks"].expand(2, -1, -1)}
    together, _, info = rasterization(**both, width=WIDTH, height=HEIGHT, sh_degree=2)
    for c, view in enumerate((values["viewmats"], other)):
        alone, _, _ = rasterization(**{**values, "viewmats": view}, width=WIDTH, height=HEIGHT, sh_degree=2)
        assert torch.equal(together[c], alone[0])
    assert info["radii"].shape == (2, 120, 2) and info["means2d"].shape == (2, 120, 2)


def test_expected_depth_lies_between_nearest_and_farthest() -> None:
    values = scene()
    depth, alpha, info = rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=0, render_mode="ED")
    covered = depth[alpha > 0.5]
    seen = info["depths"][info["depths"] > 0]
    assert len(covered) and covered.min() >= seen.min() * 0.999 and covered.max() <= seen.max() * 1.001


def test_the_strategies_find_gradients_of_the_image_plane_means() -> None:
    values = learning(scene())
    image, _, info = rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=1, absgrad=True)
    info["means2d"].retain_grad()
    image.square().sum().backward()
    gradient, absolute = info["means2d"].grad, info["means2d"].absgrad
    assert gradient.shape == absolute.shape == (1, 120, 2)
    assert (absolute >= gradient.abs() - 1e-4 * absolute.max()).all()
    assert (absolute.sum() > 1.2 * gradient.abs().sum()) and gradient.abs().sum() > 0
    unseen = ~(info["radii"] > 0).all(-1)
    assert unseen.any() and (gradient[unseen] == 0).all()


def test_the_gradient_of_a_background_is_the_light_that_reaches_it() -> None:
    values = scene()
    behind = torch.tensor([[0.1, 0.2, 0.3]], requires_grad=True)
    image, alpha, _ = rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=0, backgrounds=behind)
    image.sum().backward()
    assert behind.grad is not None
    torch.testing.assert_close(behind.grad[0], (1 - alpha).sum().expand(3), rtol=1e-4, atol=1e-3)


def test_every_tile_list_holds_all_that_reaches_the_tile_and_little_else() -> None:
    values = scene(count=400, seed=11, scale=-2.8)
    parts = [values[name] for name in ("means", "quats", "scales", "opacities", "viewmats", "Ks")]
    means2d, depths, conics, _, radii = Projection.apply(*parts, WIDTH, HEIGHT, 0.3, 0.01, 1e10, 0.0, False)
    arrays: Any = [x.numpy() for x in (means2d[0], conics[0], values["opacities"], depths[0], radii[0])]
    lists = tile_lists(WIDTH, HEIGHT, *arrays)
    columns = -(-WIDTH // TILE)
    wanted, listed = 0, len(lists.members)
    for tile in range(len(lists.offsets) - 1):
        members = lists.members[lists.offsets[tile] : lists.offsets[tile + 1]]
        assert (np.diff(members) > 0).all(), "front to back"
        u, v = np.meshgrid(
            np.arange(TILE) + tile % columns * TILE + 0.5, np.arange(TILE) + tile // columns * TILE + 0.5
        )
        for m, g in enumerate(lists.packed.astype(np.float64)):
            dx, dy = g[X] - u, g[Y] - v
            alpha = g[OPACITY] * np.exp(-0.5 * (g[2] * dx * dx + g[4] * dy * dy) - g[3] * dx * dy)
            if alpha.max() >= 1 / 255:
                wanted += 1
                assert m in members
    assert listed <= 1.1 * wanted
    assert sorted(lists.slots) == list(range(listed))


def test_lists_that_several_threads_make_are_in_order_and_each_entry_owns_its_slot() -> None:
    values = scene(count=3 * BLOCK, seed=12, scale=-3.5)
    parts = [values[name] for name in ("means", "quats", "scales", "opacities", "viewmats", "Ks")]
    means2d, depths, conics, _, radii = Projection.apply(*parts, WIDTH, HEIGHT, 0.3, 0.01, 1e10, 0.0, False)
    arrays: Any = [x.numpy() for x in (means2d[0], conics[0], values["opacities"], depths[0], radii[0])]
    lists = tile_lists(WIDTH, HEIGHT, *arrays)
    assert len(lists.order) > BLOCK
    for tile in range(len(lists.offsets) - 1):
        members = lists.members[lists.offsets[tile] : lists.offsets[tile + 1]]
        assert len(members) and (np.diff(members) > 0).all(), "front to back"
    assert sorted(lists.slots) == list(range(lists.first_slot[-1])) and lists.offsets[-1] == lists.first_slot[-1]
    assert (lists.first_slot[lists.members] <= lists.slots).all()
    assert (lists.slots < lists.first_slot[lists.members + 1]).all()


def test_runs_repeat_bit_for_bit_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for threads in (1, 2, 2):
        monkeypatch.setattr("splatkit.threads.cores", lambda threads=threads: threads)
        values = learning(scene(count=300))
        image, _, _ = rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=3)
        image.square().sum().backward()
        results.append([image, *(values[name].grad for name in LEARNED)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nothing_in_view_renders_the_background() -> None:
    values = learning(scene())
    away = {**values, "viewmats": values["viewmats"].detach() * torch.tensor([[1.0, 1, -1, 1]]).T}
    with torch.no_grad():
        away["means"] -= torch.tensor([0.0, 0, 500.0]) @ values["viewmats"][0, :3, :3] * -1
    image, alpha, _ = rasterization(**away, width=20, height=17, sh_degree=0, backgrounds=torch.ones(1, 3) * 0.25)
    assert (image == 0.25).all() and (alpha == 0).all()
    image.sum().backward()
    assert (values["means"].grad == 0).all()


def test_nan_is_passed_on_or_left_out_but_never_crashes() -> None:
    values = scene()
    values["means"][3] = float("nan")
    values["scales"][4] = float("nan")
    values["quats"][5] = 0.0
    values["opacities"][6] = float("nan")
    values["scales"][7] = 1e20
    image, _, info = rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=0)
    assert image.shape == (1, HEIGHT, WIDTH, 3)
    assert (info["radii"][0, 3:7] == 0).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quats": torch.zeros(3, 4)}, "quats has the shape"),
        ({"scales": torch.zeros(120, 3).double()}, "scales is torch.float64"),
        ({"viewmats": torch.eye(4)[None].requires_grad_()}, "gradients of viewmats"),
        ({"sh_degree": 4}, "degree 0 to 3"),
        ({"colors": torch.zeros(120, 4, 3), "sh_degree": 2}, "needs 9 coefficients"),
        ({"packed": True}, "packed=True"),
    ],
)
def test_what_it_cannot_do_it_refuses(change: dict[str, object], said: str) -> None:
    arguments = {**scene(), "width": WIDTH, "height": HEIGHT, "sh_degree": 1, **change}
    with pytest.raises(ValueError, match=said):
        rasterization(**arguments)
