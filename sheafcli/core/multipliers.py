"""The pull on the output stalk at a pinned equilibrium: lambda, one multiplier an output and sample.

Where an edge of stiffness gamma pulls the output towards y, lambda minimises the convex
gamma Loss(f + S lambda, y) + lambda^T S lambda / 2, and is the only root of

    F(lambda) = lambda + gamma (phi(f + S lambda) - y),

with f the forward output and S the effective resistance of the sample, symmetric and positive definite.
Newton's equation (I + gamma J_phi S) d = -F is self-adjoint in the inner product <u, v> = u^T S v, so
conjugate gradients solve it with one product by S an iteration and at most n_{k+1} iterations: S itself
is never needed. Undamped steps oscillate once S is large; here each is halved, sample by sample, until the
slope of the objective along it is no longer upwards: then it is at least half as long as the best one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sheafcli.core.outputs import Output
from sheafcli.core.resistance import dots, quotient
from sheafcli.core.types import Array

Product = Callable[[Array], Array]

NEWTON_STEPS, HALVINGS = 300, 40
# So many undamped steps in a row may fail to halve |F|; more are rounding at work.
PATIENCE = 10
# What is left of F, as a share of lambda, both in the 2-norm over the batch; and how much of F a conjugate
# gradient solution may leave: this, or the square root of that share.
TOLERANCE, FORCING = 1e-13, 0.1
# A step is short enough when the objective's slope along it has turned up by no more than this.
TURN = 0.1


def multipliers(
    output: Output,
    f: Array,
    y: Array,
    gamma: float,
    resist: Product,
    start: Array | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[Array, float]:
    """Return lambda, samples x n_{k+1}, for the forward output f and target y, and |F| / |lambda| there.

    `resist` returns S v, sample by sample; the last vector it is given is lambda itself. `start` is a guess,
    such as the root before a small change; without it, -gamma (phi(f) - y), right to first order in gamma.
    The share left is at most `tolerance`, or what rounding allows, unless S is beyond floating point.
    """
    now = gamma * (y - output.value(f)) if start is None else start
    noise = 4.0 * float(np.finfo(f.dtype).eps)
    least, patience = np.inf, PATIENCE
    for left_to_try in range(NEWTON_STEPS, -1, -1):
        # Afresh at every step: what sums of steps lose by rounding would stay in them for good.
        resisted = resist(now)
        p = output.value(f + resisted)
        F = now + gamma * (p - y)
        left, size = float(np.linalg.norm(F)), float(np.linalg.norm(now))
        least, patience = (left, PATIENCE) if left < 0.5 * least else (least, patience)
        if min(left_to_try, patience) == 0 or not left > tolerance * size:  # a NaN ends here too
            break
        reach = float(np.linalg.norm(f)) + float(np.linalg.norm(resisted))
        rounding = noise * (size + gamma * (float(np.linalg.norm(p)) + output.curvature * reach))
        if left <= rounding:
            break
        goal = max(tolerance * size, rounding)
        forcing = min(FORCING, float(np.sqrt(left / max(size, left))))
        step, resisted_step = _newton_step(output, p, F, gamma, resist, forcing)
        # Samples that have nothing left to lose are not searched: their slopes are rounding errors.
        searched = _squares(F) > goal * goal / len(F)
        limit = TURN * np.abs(dots(F, resisted_step))
        length = np.ones_like(limit)
        for _ in range(HALVINGS):
            moved = now + length * step + gamma * (output.value(f + resisted + length * resisted_step) - y)
            overshot = (dots(moved, resisted_step) > limit) & searched
            if not overshot.any():
                break
            length[overshot] *= 0.5
        now = now + length * step
        patience = PATIENCE if (length < 1.0).any() else patience - 1
    return now, left / size if size > 0.0 else left


def _newton_step(
    output: Output, p: Array, F: Array, gamma: float, resist: Product, forcing: float
) -> tuple[Array, Array]:
    """Return d and S d with (I + gamma J_phi S) d = -F, to a residual of `forcing` |F| a sample.

    Conjugate gradients from zero: wherever they stop, d is a direction of descent.
    """
    if F.shape[1] == 1:
        step = -F / (1.0 + gamma * output.spread(p, resist(np.ones_like(F))))
        return step, resist(step)
    step, resisted_step = np.zeros_like(F), np.zeros_like(F)
    left = -F
    goal = forcing * forcing * _squares(F)
    direction, before = left, np.ones_like(goal)
    resisted: Array | None = None
    # In exact arithmetic n_{k+1} iterations end it.
    for _ in range(2 * F.shape[1]):
        resisted_left = resist(left)
        now = dots(left, resisted_left)
        if resisted is None:
            resisted = resisted_left
        else:
            share = quotient(now, before)
            direction, resisted = left + share * direction, resisted_left + share * resisted
        curved = direction + gamma * output.spread(p, resisted)
        length = quotient(now, dots(curved, resisted))
        step += length * direction
        resisted_step += length * resisted
        left = left - length * curved
        if not (_squares(left) > goal).any():
            break
        before = now
    return step, resisted_step


def _squares(v: Array) -> Array:
    return dots(v, v)
