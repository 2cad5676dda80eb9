"""`sheaf diffuse`: the heat equation on fixed weights, watched on its way to equilibrium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from sheafcli.cli.keeping import attempt, tell_unwritten
from sheafcli.cli.options import FormatOption, SubjectArgument
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import diffuse as diffuse_stalks
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.integrators import Chebyshev, Euler, Integrator, Stiff
from sheafcli.core.chain.network import Network
from sheafcli.core.pins import Pin, check_pins
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array
from sheafcli.diagnostics.diffusion import crossings_table, decay_bound, trace_table
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say, stdout
from sheafcli.render.diffusion import LiveTrace, diffusion_figures, diffusion_table
from sheafcli.render.style import save_figure
from sheafcli.render.tables import show_frame
from sheafcli.runs import RunDirectory, RunFailed
from sheafcli.runs.chains import chain_for
from sheafcli.runs.files import write_text
from sheafcli.runs.subject import Subject

INTEGRATORS: dict[str, Integrator] = {
    "euler": Euler(),
    "chebyshev": Chebyshev(),
    "bdf": Stiff("BDF"),
    "radau": Stiff("Radau"),
}
IntegratorName = Literal["euler", "chebyshev", "bdf", "radau"]
Start = Literal["random", "zeros", "forward"]
# Where the gap is small, stalks are still far from equilibrium when they hardly move.
REST = 1e-12
HARD = re.compile(r"([a-z]+\d*)\[(\d+)\]=(.+)")
SOFT = re.compile(r"([a-z]+\d*)\[(\d+)\]=(.+)@(.+)")


def diffuse(
    subject: SubjectArgument,
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", metavar="z1[3]=0.5", help="Hold a coordinate at a value; may be given again."),
    ] = None,
    soft_pin: Annotated[
        list[str] | None,
        typer.Option("--soft-pin", metavar="a1[0]=0@2.0", help="Pull a coordinate to a value by a spring."),
    ] = None,
    output_pin: Annotated[
        bool, typer.Option("--output-pin", help="Hold the output at the sample's true target.")
    ] = False,
    start: Annotated[Start, typer.Option("--start", help="Where the stalks start.")] = "random",
    integrator: Annotated[
        IntegratorName,
        typer.Option("--integrator", help="How time is integrated; bdf and radau: one sample."),
    ] = "chebyshev",
    dt: Annotated[
        float | None, typer.Option("--dt", help="Euler's step; by default just below the largest stable one.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help="Use the first N test samples.")
    ] = 1,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Stop after so many steps.")] = 1_000_000,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="Stop once no coordinate changes faster than this.",
            show_default="1e-12 of the largest stalk",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws random stalks.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Where to write.", show_default="RUN or results/NAME-diffusion"
        ),
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """Follow the heat equation on fixed weights to equilibrium.

    Writes diffusion.csv (the trace), crossings.csv and figures/diffusion_*.png, where they can be written.
    """
    studied = Subject.load(subject)
    print_notes(studied.notes)
    network, X = chain_for(studied.network, "sheaf diffuse"), studied.task.X_test[:samples]
    target = studied.task.y_test[:samples] if output_pin else None
    pins = _pins(network, X, pin or [], soft_pin or [])
    last = f"z{network.depth + 1}"
    if output_pin and not network.has_output_vertex and any(p.hard and p.stalk == last for p in pins):
        raise InputError(f"--output-pin holds all of {last} already; leave out --pin {last}[...]")
    method = _method(integrator, dt, samples=len(X))
    if tolerance is not None and not 0.0 < tolerance < np.inf:
        raise InputError(f"--tolerance must be above 0 and finite, got {tolerance}")
    goal = extend(network, X, target=target, pins=pins)
    if not goal.converged.all():
        raise RunFailed(
            f"the equilibrium of {_samples(~goal.converged)} was not found to tolerance "
            f"(certificate {goal.certificate.max():.1e}), so there is nothing to measure against"
        )
    if tolerance is None:
        tolerance = REST * max(1.0, float(np.max(np.abs(goal.cochain.data))))
    recorder = Recorder(reference=goal.cochain, watch=_watched(network))
    try:
        # A step that is too large overflows; what is left then is not finite, and said below.
        with (
            LiveTrace(recorder, quiet=format_ != "table") as observer,
            np.errstate(over="ignore", invalid="ignore"),
        ):
            flow = diffuse_stalks(
                network,
                X,
                start=start,
                seed=seed,
                target=target,
                pins=pins,
                integrator=method,
                steps=steps,
                tolerance=tolerance,
                recorder=observer,
            )
    except ArithmeticError as error:
        raise RunFailed(f"{error}; another --integrator may get further") from error
    if not np.isfinite(flow.rate).all():
        raise RunFailed(
            f"the diffusion diverged within {flow.steps:,} steps: {method} steps too far; "
            "leave out --dt, and nothing is written"
        )
    folder = output or (
        studied.run.path if studied.run is not None else Path("results") / f"{studied.name}-diffusion"
    )
    trace, crossings = trace_table(recorder), crossings_table(recorder)

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        RunDirectory(folder).make_figures()
        write_text(folder / "diffusion.csv", trace.to_csv(index=False))
        write_text(folder / "crossings.csv", crossings.to_csv(index=False))
        for stem, figure in diffusion_figures(trace, crossings, goal.cochain, studied.name).items():
            save_figure(figure, folder / "figures" / f"diffusion_{stem}.png")

    unwritten = attempt(write)
    if unwritten is not None and output is not None:
        raise unwritten
    bound = decay_bound(network, recorder)
    if format_ == "table":
        stdout().print(diffusion_table(flow, recorder, bound))
        if unwritten is None:
            say(f"\nWritten: {folder / 'diffusion.csv'}, crossings.csv and figures/diffusion_*.png")
    else:
        show_frame(trace, format_)
    if unwritten is not None:
        tell_unwritten(unwritten)
    if not flow.converged.all():
        raise RunFailed(
            f"{_samples(~flow.converged)} did not come to rest in {flow.steps:,} steps "
            f"(largest rate left {flow.rate.max():.1e}); give more --steps or a larger --tolerance"
        )


def _method(name: IntegratorName, dt: float | None, *, samples: int) -> Integrator:
    """Return the integrator that --integrator and --dt ask for."""
    method = INTEGRATORS[name]
    if isinstance(method, Stiff) and samples > 1:
        raise InputError(f"--integrator {name} takes a single sample; leave out --samples {samples}")
    if dt is None:
        return method
    if name != "euler":
        raise InputError(f"--dt belongs to --integrator euler; {name} chooses its own steps")
    if not 0.0 < dt < np.inf:
        raise InputError(f"--dt must be above 0 and finite, got {dt}")
    return Euler(dt)


def _pins(network: Network, X: Array, hard: list[str], soft: list[str]) -> list[Pin]:
    """Read --pin and --soft-pin; InputError names what exists."""
    pins = []
    for text in hard:
        found = HARD.fullmatch(text)
        if found is None or "@" in text:
            raise InputError(f"--pin {text}: write it as STALK[COORDINATE]=VALUE, such as z1[3]=0.5")
        pins.append(_pin(f"--pin {text}", found[1], found[2], found[3], None))
    for text in soft:
        found = SOFT.fullmatch(text)
        if found is None:
            raise InputError(f"--soft-pin {text}: write it as STALK[COORDINATE]=VALUE@STIFFNESS")
        pins.append(_pin(f"--soft-pin {text}", found[1], found[2], found[3], found[4]))
    stalks = Cochain(network.widths, len(X)).stalks()  # the output vertex is held by --output-pin alone
    try:
        check_pins(pins, stalks)
    except ValueError as error:
        raise InputError(str(error)) from error
    return pins


def _pin(option: str, stalk: str, coordinate: str, value: str, stiffness: str | None) -> Pin:
    try:
        return Pin(stalk, int(coordinate), float(value), None if stiffness is None else float(stiffness))
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error


def _samples(chosen: NDArray[np.bool_]) -> str:
    """Name samples by their numbers: sample 3; samples 0, 1, 4; no more than 20 of them."""
    numbers = np.flatnonzero(chosen)
    more = f" and {len(numbers) - 20} more" if len(numbers) > 20 else ""
    return f"sample{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:20]))}{more}"


def _watched(network: Network) -> tuple[tuple[str, int], ...]:
    """Return the two neurons of the phase plane: the first two of the first hidden layer that has two."""
    for layer, n in enumerate(network.widths[1:-1], start=1):
        if n > 1:
            return ((f"z{layer}", 0), (f"z{layer}", 1))
    return ()
