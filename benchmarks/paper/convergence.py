"""The heat equation reaches the forward pass, exponentially, from anywhere, neurons crossing on the way.

The paper runs forward Euler, dt 0.01, on two networks, [2, 4, 1] with identity output and [2, 6, 4, 4, 1]
with sigmoid output, from random stalks. Here they have the reference implementation's weights, inputs and
start stalks. A row holds if

- the stalks after 1, 200 and 4,000 of its steps are the reference's, to 1e-9 of the largest stalk;
- the energy never rises from one recorded step to the next, but for rounding error, 1e-12 of it at first;
- the distance to the forward pass falls at least as fast as the theory's bound. Its rate is fitted to the
  log of the distance, sample by sample, where that is between 1e-4 and 1e-9 of the start's; the slowest
  sample counts;
- the distance that is left when no stalk changes faster than 1e-12 is at most 1e-9 of the start's;
- from each of many random starts the distance left is at most 1e-6, the same for all samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from convergence_figures import discord_figure, starts_figure
from exhibit import Exhibit, Row
from power_law import Line, fit_line
from relaxation import STEMS, Case, cases, distances, relax, wide_start

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Chebyshev, Euler
from sheafcli.core.trace import Recorder
from sheafcli.diagnostics.diffusion import chain_decay_bound, crossings_table, trace_table
from sheafcli.render.diffusion import diffusion_figures

DIFFUSED = list(STEMS)
"""The configurations of experiments/paper/ that show this by `sheaf diffuse`: they are not to be trained."""

SAME, RISE = 1e-9, 1e-12
# The stretch that the rate is fitted to, in shares of the distance at the start; and where it must end.
STRETCH = (1e-4, 1e-9)
LEFT, LEFT_FROM_ANYWHERE = 1e-9, 1e-6
STARTS, QUICK_STARTS = 24, 6
TEXT = """
Two networks relax from random stalks with the input pinned, by forward Euler at the paper's dt of 0.01,
from the reference implementation's own weights, inputs and start stalks; then again from many random
starts, twice as large as standard normal ones, by forward Euler at the largest step that is stable. In
the pictures a crossing of z = 0 is a tick at the bottom; where neurons cross the discords have their
kinks.

Crossings are those that forward Euler makes. Where both sides of z = 0 push a neuron back, it steps
across and back again, step after step, until one side lets it go: far more crossings than neurons that
cross. A method that holds such a neuron at z = 0 meanwhile, as the Chebyshev method here does, makes few;
both counts are given.

The bound is the smallest eigenvalue over the activation patterns that were met. Decay is faster than it
where the worst pattern has been left behind, and near the forward pass it is that of the pattern there.
"""


def difference_from_reference(case: Case) -> float:
    """Return the largest difference from the reference's stalks after its steps, in units of the largest."""
    worst = 0.0
    for steps, expected in case.after.items():
        found = diffuse(
            case.network,
            case.X,
            start=case.start,
            output_force=case.output_force,
            integrator=Euler(case.dt),
            steps=steps,
            tolerance=0.0,
        ).cochain
        scale = np.max(np.abs(expected.data))
        worst = max(worst, float(np.max(np.abs(found.data - expected.data)) / scale))
    return worst


def decay(recorder: Recorder) -> Line:
    """Fit log distance against time where it is in STRETCH, and return the slowest sample's line."""
    times, apart = distances(recorder)
    lines = []
    for distance in apart.T:
        first, last = (int(np.argmax(distance < share * distance[0])) for share in STRETCH)
        lines.append(fit_line(times[first:last], np.log(distance[first:last])))
    return max(lines, key=lambda line: line.slope)


def from_anywhere(case: Case, *, starts: int) -> Recorder:
    """Relax every input from so many random starts, all at once."""
    X = np.tile(case.X, (starts, 1))
    return relax(case, wide_start(case.network, len(X), seed=0), X, Euler())


def rows_of(case: Case, off: float, euler: Recorder, held: Recorder, anywhere: Recorder) -> list[Row]:
    """Judge what became of one network."""
    label, by = case.label, f"Euler, paper's dt {case.dt}"
    steps = ", ".join(f"{step:,}" for step in case.after)
    energy = np.array([seen.energy for seen in euler.sightings])
    rise = float(np.max(np.diff(energy)) / energy[0])
    line, bound = decay(euler), chain_decay_bound(case.network, euler)
    _, apart = distances(euler)
    left = float(np.max(apart[-1] / apart[0]))
    crossed = len({(crossing.sample, crossing.layer, crossing.neuron) for crossing in euler.crossings})
    neurons = len(case.X) * sum(case.network.widths[1:-1])
    course = "no rise" if rise <= 0.0 else f"a rise of {rise:.1e}"
    everywhere = distances(anywhere)[1][-1]
    starts = len(everywhere) // len(case.X)
    return [
        Row(
            f"{label}: stalks after {steps} steps",
            "the reference implementation's, to 1e-9",
            f"{off:.1e} off at most",
            by,
            off <= SAME,
        ),
        Row(
            f"{label}: neurons cross z = 0, the energy falls throughout",
            "crossings; no rise",
            f"{euler.crossed:,} crossings (Chebyshev: {held.crossed:,}) by {crossed} of {neurons} neurons "
            f"in {len(case.X)} samples; {course}",
            by,
            euler.crossed > 0 and rise <= RISE,
        ),
        Row(
            f"{label}: the distance decays exponentially, at the bound or faster",
            f"rate of at least {bound:.4g}",
            f"{-line.slope:.4g} +- {line.slope_error:.0e}, R^2 = {line.r_squared:.4f}",
            by,
            -line.slope >= bound,
        ),
        Row(
            f"{label}: distance to the forward pass at the end",
            "0 (here: below 1e-9 of the start's)",
            f"{left:.1e} of the start's after {euler.sightings[-1].step:,} steps",
            by,
            left <= LEFT,
        ),
        Row(
            f"{label}: from {starts} random starts to the same forward pass",
            "distance 0 (here: below 1e-6)",
            f"{everywhere.max():.1e} at most, {starts} x {len(case.X)} samples",
            "Euler, largest stable dt",
            bool(everywhere.max() <= LEFT_FROM_ANYWHERE),
        ),
    ]


def exhibit(runs: Path, *, quick: bool) -> Exhibit:
    """Relax both networks; no run is needed."""
    rows, figures, starts, singles = [], {}, [], []
    for case in cases():
        euler = relax(case, case.start, case.X, Euler(case.dt))
        anywhere = from_anywhere(case, starts=QUICK_STARTS if quick else STARTS)
        held = relax(case, case.start, case.X, Chebyshev())
        rows += rows_of(case, difference_from_reference(case), euler, held, anywhere)
        energy = diffusion_figures(
            trace_table(euler), crossings_table(euler), case.forward(case.X), case.label
        )
        figures[case.stem] = energy["energy"]
        starts.append((case, anywhere, chain_decay_bound(case.network, anywhere)))
        alone = Cochain.from_stalks(
            case.network.widths,
            {name: stalk[:1] for name, stalk in case.start.stalks().items()},
            output_vertex=case.network.has_output_vertex,
        )
        singles.append((case, relax(case, alone, case.X[:1], Euler(case.dt))))
    return Exhibit(
        key="convergence",
        title="Convergence to the forward pass",
        text=TEXT.strip(),
        rows=rows,
        figures=figures
        | {"convergence_discord": discord_figure(singles)}
        | {"convergence_starts": starts_figure(starts)},
        tables={},
    )
