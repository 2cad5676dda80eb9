"""Rules on training: heat that cannot follow, and runs that diverge."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sheafcli.config.training import HeatSpec
from sheafcli.core.chain.stability import spectral_norm
from sheafcli.core.training.heat import CHEBYSHEV_PAIR
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import Finding

# A fresh He network with k hidden layers has tr S / n_{k+1} near 1 + 3 k at any width: 2 of activation l and
# 1 of affine l, half of its neurons being active. At a hundred times that, heat learns at 1% of its speed.
EXPLODED = 100.0
# Forward Euler lets a mode grow where alpha dt times its eigenvalue is above this.
STABLE = 2.0
# Where alpha times time times gap is below this, the slowest mode keeps nine tenths of its distance.
SETTLED = 0.1
# A loss that ends at 10 times its best has lost an order of magnitude, all the more at 10 times its first.
RISEN = 10.0
# A rise that stays below this share of the first loss is the noise of a training that has found its end.
MATERIAL = 0.1


def exploding_resistance(examined: Examined) -> Iterator[Finding]:
    """Find an effective resistance far above a fresh network's: heat's steps shrink by it."""
    network, resistance = examined.chain, examined.resistance
    if network is None or resistance is None or network.depth == 0:
        return
    fresh = 1.0 + 3.0 * network.depth
    if resistance.typical < EXPLODED * fresh:
        return
    layer = int(np.nanargmax(resistance.gains)) + 1
    heat = isinstance(examined.training, HeatSpec)
    yield Finding(
        "warning" if heat else "info",
        "exploding-resistance",
        layer,
        "affine",
        (),
        f"The effective resistance between input and output is {resistance.typical:.3g}, in a fresh network "
        f"{fresh:g}; W{layer} raises it most, {resistance.gains[layer - 1]:.3g} times.",
        "Heat is about to stall: train with method: equilibrium, whose steps do not shrink, or from smaller "
        "weights."
        if heat
        else "Nothing is wrong unless you train it by heat, whose steps shrink by this factor.",
    )


def unstable_step(examined: Examined) -> Iterator[Finding]:
    """Find a fixed dt with alpha dt lambda_max > 2 on some sample: no Euler step follows the stalks."""
    training, network, spectrum = examined.training, examined.chain, examined.spectrum
    if network is None or spectrum is None or not isinstance(training, HeatSpec) or training.dt == "auto":
        return
    largest = float(spectrum.largest.max())
    product = training.alpha * training.dt * largest
    if product <= STABLE:
        return
    norms = [spectral_norm(W) for W in network.weights[1:]]
    yield Finding(
        "error",
        "unstable-step",
        int(np.argmax(norms)) + 2 if norms else None,
        "affine" if norms else None,
        (),
        f"alpha dt lambda_max is {product:.3g} with dt {training.dt:g} and the largest eigenvalue "
        f"{largest:.3g} of the Laplacian (condition {spectrum.condition.max():.3g}); Euler is "
        "stable up to 2.",
        f"Write dt: {1.0 / (training.alpha * largest):.2g} or less, or dt: auto, which follows the "
        "eigenvalue.",
    )


def slow_settling(examined: Examined) -> Iterator[Finding]:
    """Find a training time too short for the slowest mode of half of the samples to settle.

    A warning for the whole time; info for the time between two restarts of the stalks.
    """
    training = examined.training
    if not isinstance(training, HeatSpec) or (spectrum := examined.spectrum) is None:
        return
    gap = float(np.median(spectrum.gap))
    # dt: auto steps by no more than this, since its bound of the largest eigenvalue is no smaller.
    auto = float(CHEBYSHEV_PAIR.mean() / (training.alpha * spectrum.largest.max()))
    dt = auto if training.dt == "auto" else training.dt
    whole = training.time if training.steps is None else training.steps * dt
    assert whole is not None  # the specification has one of the two
    between = training.reset_time or (training.reset_every or np.inf) * dt
    time = min(whole, between)
    settled = training.alpha * time * gap
    if settled >= SETTLED:
        return
    grave = training.alpha * whole * gap < SETTLED
    needed = 1.0 / (training.alpha * gap)
    yield Finding(
        "warning" if grave else "info",
        "slow-settling",
        None,
        None,
        (),
        f"The slowest mode needs the time {needed:.3g} to settle (gap {gap:.3g}, condition "
        f"{np.median(spectrum.condition):.3g}), and has {time:.3g}{'' if grave else ' between restarts'}.",
        "Train with method: equilibrium, which solves for the stalks, or give it more time."
        if grave
        else "Restart less often (reset_every), or train with method: equilibrium.",
    )


def diverging_run(examined: Examined) -> Iterator[Finding]:
    """Find a run that diverged, or whose loss ends by orders above its best."""
    losses = np.zeros(0) if examined.history is None else examined.history["train_loss"].to_numpy(dtype=float)
    finite = losses[np.isfinite(losses)]
    first, best, end = (finite[0], finite.min(), finite[-1]) if len(finite) else (np.nan,) * 3
    blown = examined.status == "diverged" or len(finite) < len(losses) or end > RISEN * first
    rising = end > RISEN * best and end > MATERIAL * first
    if not (blown or rising):
        return
    told = "The run diverged" if examined.status == "diverged" else "The training loss rises"
    figures = (
        f": it began at {first:.3g}, was {best:.3g} at best, and ends at {losses[-1]:.3g}"
        if len(losses)
        else ""
    )
    yield Finding(
        "error" if blown else "warning",
        "diverging-run",
        None,
        None,
        (),
        f"{told}{figures}.",
        "Train again with dt: auto, or a smaller dt."
        if isinstance(examined.training, HeatSpec)
        else "Train again with a learning rate three times smaller, or with schedule: cosine.",
    )
