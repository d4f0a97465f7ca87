# mypy: disable-error-code="no-untyped-def,call-arg"
"""The inner loops of the CPU rasterizer: one tile at a time, one Gaussian at a time, all its pixels at once.

The pixel loops are written so that LLVM turns them into vector code: no branches, single precision throughout, and one
flat array per tile (several arrays would need more overlap checks than LLVM is willing to make).
numba's cache does not see changes of imported files: after editing fast_exp.py, touch this one.
"""

import numpy as np
from numba import njit

from splatkit.rasterizer.fast_exp import fast_exp
from splatkit.rasterizer.tile_lists import BLUE, CONIC_A, CONIC_B, CONIC_C, GREEN, OPACITY, REACH_Y, RED, TILE, X, Y

PIXELS = TILE * TILE
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
MIN_ALPHA, MAX_ALPHA = np.float32(1 / 255), np.float32(0.999)
MIN_TRANSMITTANCE = np.float32(1e-4)
EXP_FLOOR = np.float32(-30)  # far below MIN_ALPHA, far above what fast_exp cannot take
LOOK_EVERY = 8  # Gaussians between two looks whether the tile is already opaque
# Rows of the state of a tile.
_X, _Y, _T, _R, _G, _B, _LAST, _LIVE = (PIXELS * i for i in range(8))
_BEHIND = _LIVE
GRADIENTS = 11  # red green blue, conic a b c, x y, opacity, |x| |y|
# Not "fast": NaN must stay NaN, so that a diverging training is seen. Sums may be reordered, which vector code does.
MATH = {"contract", "reassoc", "nsz", "arcp", "afn"}


@njit(nogil=True, cache=True, error_model="numpy")
def _pixel_centres(state, tile, columns):
    left, top = np.float32(tile % columns * TILE + 0.5), np.float32(tile // columns * TILE + 0.5)
    for p in range(PIXELS):
        state[_X + p] = left + np.float32(p % TILE)
        state[_Y + p] = top + np.float32(p // TILE)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _pixel_range(g, tile, columns):
    """The pixels of the tile's rows that the Gaussian can reach."""
    middle = g[Y] - np.float32(tile // columns * TILE)
    start = max(0, int(np.floor(middle - g[REACH_Y])))
    end = min(TILE, int(np.ceil(middle + g[REACH_Y])) + 1)
    return start * TILE, max(start, end) * TILE


@njit(nogil=True, cache=True, fastmath=MATH, error_model="numpy")
def render_tiles(first, last, columns, offsets, members, packed, background, colors, transmittance, last_member):
    """colors [H,W,3], transmittance [H,W], last_member [H,W]: the last list entry that contributed, plus one."""
    height, width = transmittance.shape
    state = np.empty(8 * PIXELS, np.float32)
    for tile in range(first, last):
        _pixel_centres(state, tile, columns)
        for p in range(PIXELS):
            state[_T + p] = state[_LIVE + p] = ONE
            state[_R + p] = state[_G + p] = state[_B + p] = state[_LAST + p] = ZERO
        for entry in range(offsets[tile], offsets[tile + 1]):
            number = entry - offsets[tile]
            if number % LOOK_EVERY == 0 and number > 0:
                live = ZERO
                for p in range(PIXELS):
                    live += state[_LIVE + p]
                if live == ZERO:
                    break
            g = packed[members[entry]]
            start, end = _pixel_range(g, tile, columns)
            x, y, a, b, c, opacity = g[X], g[Y], HALF * g[CONIC_A], g[CONIC_B], HALF * g[CONIC_C], g[OPACITY]
            red, green, blue, rank = g[RED], g[GREEN], g[BLUE], np.float32(number + 1)
            part = state[start:]  # counted from 0, so that no index needs a look whether it is negative
            for p in range(end - start):
                dx, dy = x - part[_X + p], y - part[_Y + p]
                sigma = a * dx * dx + c * dy * dy + b * dx * dy
                before, live, rank_before = part[_T + p], part[_LIVE + p], part[_LAST + p]
                alpha = min(MAX_ALPHA, opacity * fast_exp(max(EXP_FLOOR, -sigma)))
                alpha = alpha * live if (sigma >= ZERO) & (alpha >= MIN_ALPHA) else ZERO
                after = before * (ONE - alpha)
                full = after <= MIN_TRANSMITTANCE
                weight = ZERO if full else alpha * before
                part[_LIVE + p] = ZERO if full else live
                part[_T + p] = before if full else after
                part[_R + p] += weight * red
                part[_G + p] += weight * green
                part[_B + p] += weight * blue
                part[_LAST + p] = rank if weight > ZERO else rank_before
        top, left = tile // columns * TILE, tile % columns * TILE
        for v in range(min(TILE, height - top)):
            for u in range(min(TILE, width - left)):
                p = v * TILE + u
                rest = state[_T + p]
                colors[top + v, left + u, 0] = state[_R + p] + rest * background[0]
                colors[top + v, left + u, 1] = state[_G + p] + rest * background[1]
                colors[top + v, left + u, 2] = state[_B + p] + rest * background[2]
                transmittance[top + v, left + u] = rest
                last_member[top + v, left + u] = int(state[_LAST + p])


@njit(nogil=True, cache=True, fastmath=MATH, error_model="numpy")
def render_tiles_backward(
    first, last, columns, offsets, members, slots, packed, background, transmittance, last_member, v_colors, v_alphas,
    gradients,
):  # fmt: skip
    """Writes each Gaussian's share from each tile into a slot of its own in gradients [slots, GRADIENTS]."""
    state = np.empty(8 * PIXELS, np.float32)
    for tile in range(first, last):
        _pixel_centres(state, tile, columns)
        deepest = _load_gradients(state, tile, columns, background, transmittance, last_member, v_colors, v_alphas)
        for number in range(deepest - 1, -1, -1):
            entry = offsets[tile] + number
            g = packed[members[entry]]
            start, end = _pixel_range(g, tile, columns)
            x, y, a, b, c, opacity = g[X], g[Y], g[CONIC_A], g[CONIC_B], g[CONIC_C], g[OPACITY]
            red, green, blue, rank = g[RED], g[GREEN], g[BLUE], np.float32(number + 1)
            s_r = s_g = s_b = s_x = s_y = s_xx = s_xy = s_yy = s_o = s_ax = s_ay = ZERO
            part = state[start:]
            for p in range(end - start):
                dx, dy = x - part[_X + p], y - part[_Y + p]
                through, behind, last_rank = part[_T + p], part[_BEHIND + p], part[_LAST + p]
                v_r, v_g, v_b = part[_R + p], part[_G + p], part[_B + p]
                sigma = HALF * (a * dx * dx + c * dy * dy) + b * dx * dy
                raw = opacity * fast_exp(max(EXP_FLOOR, -sigma))
                alpha = min(MAX_ALPHA, raw)
                hit = (sigma >= ZERO) & (alpha >= MIN_ALPHA) & (rank <= last_rank)
                alpha = alpha if hit else ZERO
                inverse = ONE / (ONE - alpha)
                before = through * inverse
                weight = alpha * before
                along = red * v_r + green * v_g + blue * v_b
                v_alpha = along * before - behind * inverse
                part[_T + p] = before
                part[_BEHIND + p] = behind + along * weight
                s_r += weight * v_r
                s_g += weight * v_g
                s_b += weight * v_b
                v_sigma = -raw * v_alpha if hit & (raw <= MAX_ALPHA) else ZERO
                v_dx, v_dy = v_sigma * dx, v_sigma * dy
                s_o += v_sigma
                s_x += v_dx
                s_y += v_dy
                s_xx += v_dx * dx
                s_xy += v_dx * dy
                s_yy += v_dy * dy
                s_ax += abs(a * v_dx + b * v_dy)
                s_ay += abs(b * v_dx + c * v_dy)
            out = gradients[slots[entry]]
            out[0], out[1], out[2] = s_r, s_g, s_b
            out[3], out[4], out[5] = HALF * s_xx, s_xy, HALF * s_yy
            out[6], out[7] = a * s_x + b * s_y, b * s_x + c * s_y
            out[8], out[9], out[10] = -s_o / opacity, s_ax, s_ay


@njit(nogil=True, cache=True, error_model="numpy")
def _load_gradients(state, tile, columns, background, transmittance, last_member, v_colors, v_alphas):
    """Fills the state from the image; pixels beyond its edge get no Gaussians. Returns how deep the tile was drawn."""
    height, width = transmittance.shape
    top, left = tile // columns * TILE, tile % columns * TILE
    state[_T : _LIVE + PIXELS] = ZERO
    deepest = 0
    for v in range(min(TILE, height - top)):
        for u in range(min(TILE, width - left)):
            p, i, j = v * TILE + u, top + v, left + u
            red, green, blue = v_colors[i, j, 0], v_colors[i, j, 1], v_colors[i, j, 2]
            state[_R + p], state[_G + p], state[_B + p] = red, green, blue
            state[_T + p] = transmittance[i, j]
            state[_LAST + p] = last_member[i, j]
            shown = background[0] * red + background[1] * green + background[2] * blue
            state[_BEHIND + p] = transmittance[i, j] * (shown - v_alphas[i, j])
            deepest = max(deepest, last_member[i, j])
    return deepest


@njit(nogil=True, cache=True, error_model="numpy")
def gather_gradients(first, last, order, first_slot, gradients, out):
    """out [N, GRADIENTS]: each Gaussian's slots summed, always in the same order, so that runs repeat bit for bit."""
    for m in range(first, last):
        for slot in range(first_slot[m], first_slot[m + 1]):
            for k in range(GRADIENTS):
                out[order[m], k] += gradients[slot, k]
