"""`sheaf diffuse`: the heat equation on fixed weights, watched on its way to equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from sheafcli.cli.keeping import attempt, tell_unwritten
from sheafcli.cli.options import FormatOption, SubjectArgument
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.extension import Extension, extend
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import Diffusion, State
from sheafcli.core.diffusion import diffuse as diffuse_stalks
from sheafcli.core.integrators import Chebyshev, Euler, Integrator, Stiff
from sheafcli.core.network import AnyNetwork
from sheafcli.core.pins import Pin, check_pins, parse_pin
from sheafcli.core.relaxation import Relaxed, relax
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array
from sheafcli.diagnostics.diffusion import crossings_table, decay_bound, trace_table
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, remark, say, stdout
from sheafcli.render.diffusion import LiveTrace, diffusion_figures, diffusion_table
from sheafcli.render.style import save_figure
from sheafcli.render.tables import show_frame
from sheafcli.runs import RunDirectory, RunFailed
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


def diffuse(
    subject: SubjectArgument,
    pin: Annotated[
        list[str] | None,
        typer.Option(
            "--pin",
            metavar="z1[3]=0.5",
            help="Hold a coordinate at a value, such as conv_1[3,4,4]=0.5; may be given again.",
        ),
    ] = None,
    soft_pin: Annotated[
        list[str] | None,
        typer.Option(
            "--soft-pin", metavar="a1[0]=0@2.0", help="Pull a coordinate towards a value with a spring."
        ),
    ] = None,
    output_pin: Annotated[
        bool, typer.Option("--output-pin", help="Hold the output at the sample's true target.")
    ] = False,
    start: Annotated[Start, typer.Option("--start", help="Where the stalks start.")] = "random",
    integrator: Annotated[
        IntegratorName,
        typer.Option("--integrator", help="The integrator; bdf and radau take one sample."),
    ] = "chebyshev",
    dt: Annotated[
        float | None,
        typer.Option(
            "--dt", metavar="DT", help="Euler's step.", show_default="just below the largest stable one"
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help="Use the first N test samples.")
    ] = 1,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Stop after so many steps.")
    ] = 1_000_000,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            metavar="RATE",
            help="Stop once no coordinate changes faster than this.",
            show_default="1e-12 of the largest stalk",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The seed for random stalks.")] = 0,
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
    network, X = studied.network, studied.task.X_test[:samples]
    target = studied.task.y_test[:samples] if output_pin else None
    pins = _pins(network, X, pin or [], soft_pin or [])
    last = list(network.stalks)[-1]
    if output_pin and not network.has_output_vertex and any(p.hard and p.stalk == last for p in pins):
        raise InputError(f"--output-pin holds all of {last} already; leave out --pin {last}[...]")
    method = _method(integrator, dt, network, samples=len(X))
    if tolerance is not None and not 0.0 < tolerance < np.inf:
        raise InputError(f"--tolerance must be above 0 and finite, got {tolerance}")
    goal = _equilibrium(network, X, target, pins)
    if tolerance is None:
        tolerance = REST * max(1.0, 0.0 if goal is None else float(np.max(np.abs(goal.data))))
    recorder = Recorder(reference=goal, watch=_watched(network) if isinstance(network, Network) else ())
    options: dict[str, Any] = {"start": start, "seed": seed, "target": target, "pins": pins}
    options |= {"integrator": method, "steps": steps, "tolerance": tolerance}
    with LiveTrace(recorder, quiet=format_ != "table") as observer:
        flow = _follow(network, X, observer, options)
    folder = output or (
        studied.run.path if studied.run is not None else Path("results") / f"{studied.name}-diffusion"
    )
    trace, crossings = trace_table(recorder), crossings_table(recorder)
    goal = goal or flow.cochain

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        RunDirectory(folder).make_figures()
        write_text(folder / "diffusion.csv", trace.to_csv(index=False))
        write_text(folder / "crossings.csv", crossings.to_csv(index=False))
        for stem, figure in diffusion_figures(trace, crossings, goal, studied.name).items():
            save_figure(figure, folder / "figures" / f"diffusion_{stem}.png")

    unwritten = attempt(write)
    if unwritten is not None and output is not None:
        raise unwritten
    bound = decay_bound(network, recorder, X, goal)
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


def _method(name: IntegratorName, dt: float | None, network: AnyNetwork, *, samples: int) -> Integrator:
    """Return the integrator that --integrator and --dt ask for."""
    method = INTEGRATORS[name]
    if isinstance(method, Stiff) and samples > 1:
        raise InputError(f"--integrator {name} takes a single sample; leave out --samples {samples}")
    if isinstance(method, Stiff) and not isinstance(network, Network):
        raise InputError(f"--integrator {name} is for plain chains; choose euler or chebyshev")
    if dt is None:
        return method
    if name != "euler":
        raise InputError(f"--dt belongs to --integrator euler; {name} chooses its own steps")
    if not 0.0 < dt < np.inf:
        raise InputError(f"--dt must be above 0 and finite, got {dt}")
    return Euler(dt)


def _follow(network: AnyNetwork, X: Array, recorder: Recorder, options: dict[str, Any]) -> Diffusion:
    """Follow the heat equation; RunFailed where it diverges."""
    try:
        # A step that is too large overflows; what is left then is not finite, and said below.
        with np.errstate(over="ignore", invalid="ignore"):
            flow = diffuse_stalks(network, X, recorder=recorder, **options)
    except ArithmeticError as error:
        raise RunFailed(f"{error}; another --integrator may get further") from error
    if not np.isfinite(flow.rate).all():
        raise RunFailed(
            f"the diffusion diverged within {flow.steps:,} steps: {options['integrator']} steps too far; "
            "leave out --dt, and nothing is written"
        )
    return flow


def _equilibrium(
    network: AnyNetwork, X: Array, target: Array | None, pins: Sequence[Pin]
) -> Cochain | State | None:
    """Return the stalks that the flow should reach, found beforehand without it.

    Where they are not found to tolerance it is RunFailed of a plain chain, None of any other network: then
    there are no distances from it.
    """
    found: Extension | Relaxed
    goal: Cochain | State
    if isinstance(network, Network):
        found = extend(network, X, target=target, pins=pins)
        goal = found.cochain
    else:
        found = relax(network, X, target=target, pins=pins)
        goal = State.of(network, found.stalks)
    if not found.converged.all() and not isinstance(network, Network):
        remark(
            f"note: the equilibrium of {_samples(~found.converged)} was not found beforehand, so that "
            "distances from it are left out"
        )
        return None
    if not found.converged.all():
        raise RunFailed(
            f"the equilibrium of {_samples(~found.converged)} was not found to tolerance "
            f"(certificate {found.certificate.max():.1e}), so there is nothing to measure against"
        )
    return goal


def _pins(network: AnyNetwork, X: Array, hard: list[str], soft: list[str]) -> list[Pin]:
    """Read --pin and --soft-pin; InputError names what exists."""
    options = [(f"--pin {text}", text, False) for text in hard]
    options += [(f"--soft-pin {text}", text, True) for text in soft]
    pins = []
    for option, text, is_soft in options:
        try:
            pins.append(parse_pin(text, soft=is_soft))
        except ValueError as error:
            raise InputError(f"{option}: {error}") from error
    # The output vertex is held by --output-pin alone.
    stalks = {name: np.zeros((len(X), *shape)) for name, shape in network.stalks.items()}
    try:
        check_pins(pins, stalks)
    except ValueError as error:
        raise InputError(str(error)) from error
    return pins


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
