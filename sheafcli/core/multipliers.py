"""The pull on the output stalk at a pinned equilibrium: lambda, one multiplier an output and sample.

Where an edge of stiffness gamma pulls the output towards y, lambda minimises the convex
gamma Loss(f + S lambda, y) + lambda^T S lambda / 2, and is the only root of

    F(lambda) = lambda + gamma (phi(f + S lambda) - y),

with f the forward output and S the effective resistance of the sample, symmetric and positive definite.
Newton's equation (I + gamma J_phi S) d = -F is self-adjoint in the inner product <u, v> = u^T S v, so
conjugate gradients solve it with one product by S an iteration and at most n_{k+1} iterations: S itself
is never needed. Undamped steps oscillate once S is large; here each is halved, sample by sample, until
|F| falls.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sheafcli.core.outputs import Array, Output

Product = Callable[[Array], Array]

NEWTON_STEPS, HALVINGS = 100, 40
# What is left of F, as a share of lambda, both in the 2-norm over the batch; and how much of F a conjugate
# gradient solution may leave: this, or the square root of that share.
TOLERANCE, FORCING = 1e-13, 0.1
SUFFICIENT = 1e-4


def multipliers(
    output: Output,
    f: Array,
    y: Array,
    gamma: float,
    resist: Product,
    start: Array | None = None,
    tolerance: float = TOLERANCE,
) -> Array:
    """Return lambda, samples x n_{k+1}, for the forward output f and the target y of that shape.

    `resist` returns S v, sample by sample. `start` is a guess, such as the root before a small change;
    without it, -gamma (phi(f) - y), which is right to first order in gamma.
    """
    now = gamma * (y - output.value(f)) if start is None else start
    resisted = resist(now)
    p = output.value(f + resisted)
    F = now + gamma * (p - y)
    # What cannot be met in this precision, one rounding of gamma phi an output, is no goal.
    rounding = 4.0 * gamma * float(np.finfo(f.dtype).eps) * np.sqrt(F.size)
    for _ in range(NEWTON_STEPS):
        norm, left = float(np.linalg.norm(now)), float(np.linalg.norm(F))
        goal = max(tolerance * norm, rounding)
        if not left > goal:  # a NaN ends here too
            break
        forcing = min(FORCING, float(np.sqrt(left / max(norm, left))))
        step, resisted_step = _newton_step(output, p, F, gamma, resist, forcing)
        size = _squares(F)
        length = np.ones_like(size)
        for _ in range(HALVINGS):
            p = output.value(f + resisted + length * resisted_step)
            F = now + length * step + gamma * (p - y)
            rises = (_squares(F) > (1.0 - SUFFICIENT * length) * size) & (size > goal * goal / len(F))
            if not rises.any():
                break
            length[rises] *= 0.5
        else:
            length[rises] = 0.0
        now = now + length * step
        resisted = resisted + length * resisted_step
    return now


def _newton_step(
    output: Output, p: Array, F: Array, gamma: float, resist: Product, forcing: float
) -> tuple[Array, Array]:
    """Return d and S d with (I + gamma J_phi S) d = -F, to a residual of `forcing` |F| a sample."""
    if F.shape[1] == 1:
        step = -F / (1.0 + gamma * output.spread(p, resist(np.ones_like(F))))
        return step, resist(step)
    step, resisted_step = np.zeros_like(F), np.zeros_like(F)
    left = -F
    goal = forcing * forcing * _squares(F)
    direction, before = left, np.ones_like(goal)
    resisted: Array | None = None
    for _ in range(F.shape[1]):
        resisted_left = resist(left)
        now = _dots(left, resisted_left)
        if resisted is None:
            resisted = resisted_left
        else:
            share = _quotient(now, before)
            direction, resisted = left + share * direction, resisted_left + share * resisted
        curved = direction + gamma * output.spread(p, resisted)
        length = _quotient(now, _dots(curved, resisted))
        step += length * direction
        resisted_step += length * resisted
        left = left - length * curved
        if not (_squares(left) > goal).any():
            break
        before = now
    return step, resisted_step


def _dots(u: Array, v: Array) -> Array:
    """Return u^T v a sample, samples x 1."""
    return np.asarray(np.einsum("ij,ij->i", u, v)[:, None])


def _squares(v: Array) -> Array:
    return _dots(v, v)


def _quotient(above: Array, below: Array) -> Array:
    """Return above / below, 0 where nothing is left to divide."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)
