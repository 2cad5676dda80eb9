"""A fuzzer: inputs of every kind, right, nearly right and hostile, and whether a command ever answers badly.

    python benchmarks/fuzz.py --minutes 10                 # all kinds, each by its share of the time
    python benchmarks/fuzz.py --kind runs --only 123       # one case again, as the table names it

At fault is: an exception that comes out, a status other than 0, 1 and 2 (3 for --fail-on), more than 20
seconds, a warning of a library on a stream, more than 1 GB, and what is not finite in a table of a run
that has not diverged. Case i of a kind depends on the seed, the kind and i alone. What was at fault is
kept, with its command, in results/fuzz/.
"""

from __future__ import annotations

import os

# Arrow's own pool, in which pandas keeps text, takes more room of addresses at once than a child has. It is
# chosen when the library is loaded.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"

import argparse
import json
import shlex
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fuzz_files
import fuzz_tables
import fuzz_texts
import numpy as np
import pandas as pd
from fuzz_guard import Ending, call, load
from fuzz_texts import Draw, pick
from rich.table import Table

from sheafcli.render.console import say, stdout
from sheafcli.render.house_table import house_table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "results" / "fuzz"
WITH_PICTURES = 0.1
# Columns of a run's tables that hold names of the data's own, such as a column called nan.
NAMED = ["target", "class", "true", "predicted"]
Commands = Iterator[list[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of input: how many are tried, and what writes one into a folder and yields commands for it."""

    cases: int
    make: Callable[[Draw, Path, Path], Commands]
    may_want_memory: bool = False


@dataclass
class Tally:
    """What became of the cases of a kind."""

    tried: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: dict[str, list[int]] = field(default_factory=dict)
    slowest: float = 0.0
    memory: int = 0


def configurations(draw: Draw, folder: Path, seeds: Path) -> Commands:
    values = fuzz_texts.configuration(draw)
    if draw.random() < 0.8:
        values = fuzz_texts.nearly(draw, values)
    (folder / "c.yaml").write_bytes(fuzz_texts.document(draw, values))
    yield ["validate", "c.yaml", *fuzz_texts.overrides(draw)]


def sweeps(draw: Draw, folder: Path, seeds: Path) -> Commands:
    (folder / "s.yaml").write_bytes(fuzz_texts.document(draw, fuzz_texts.sweep(draw)))
    yield ["validate", "s.yaml", *fuzz_texts.overrides(draw)]


def trainings(draw: Draw, folder: Path, seeds: Path) -> Commands:
    values = fuzz_texts.configuration(draw, small=True)
    (folder / "c.yaml").write_bytes(fuzz_texts.document(draw, values))
    yield ["train", "c.yaml", "--output", "run"]
    if (folder / "run" / "network.npz").exists():
        yield ["diagnose", "run", "--format", pick(draw, ("table", "csv", "json"))]
        yield pick(
            draw,
            (["report", "run"], ["compare", "run"], ["spectrum", "run"], ["verify", "run"], ["runs", "."]),
        )


def pins(draw: Draw, folder: Path, seeds: Path) -> Commands:
    (folder / "c.yaml").write_text(
        "task: {kind: paraboloid, n_train: 9, n_test: 5}\nnetwork: {hidden: [4, 3]}\n"
    )
    options = fuzz_texts.pins(draw)
    if draw.random() < 0.2:
        options += [
            pick(draw, ("--dt", "--tolerance", "--samples")),
            pick(draw, ("1e-300", "0", "nan", "1e300", "3")),
        ]
    if draw.random() < 0.3:
        options += ["--integrator", pick(draw, ("euler", "bdf", "radau", "chebyshev"))]
    yield ["diffuse", "c.yaml", "--output", "out", "--steps", "2000", *options]


def models(draw: Draw, folder: Path, seeds: Path) -> Commands:
    path = pick(draw, [*sorted(seeds.glob("model.*")), seeds / "checkpoint.pt"])
    (folder / path.name).write_bytes(fuzz_files.damaged(draw, path))
    shutil.copy(seeds / "data.npz", folder)
    data = ["--data", "data.npz"] if draw.random() < 0.5 else []
    yield ["import", path.name, "--output", "run", *data]
    if data and (folder / "run").exists():
        yield ["diagnose", "run"]


def data(draw: Draw, folder: Path, seeds: Path) -> Commands:
    how = pick(draw, ("csv", "csv", "npz", "samples"))
    if how == "samples":
        shutil.copytree(seeds / "run", folder / "run")
        shutil.copy(seeds / "data.csv", folder)
        (folder / "samples.npz").write_bytes(fuzz_files.damaged(draw, seeds / "samples.npz"))
        yield ["diagnose", "run", "--data", "samples.npz"]
        return
    (folder / f"data.{how}").write_bytes(fuzz_files.damaged(draw, seeds / f"data.{how}"))
    target = f", target: {pick(draw, ('kind', 'kind', 'kind', 'first', '3', '[first, second]'))}"
    task = f"{{kind: {how}, path: data.{how}{target if how == 'csv' else ''}}}"
    (folder / "c.yaml").write_text(
        f"task: {task}\nnetwork: {{hidden: [3]}}\ntraining: {{steps: 20, log_every: 10}}\n"
    )
    yield ["train", "c.yaml", "--output", "run"]
    if (folder / "run" / "network.npz").exists():
        yield ["diagnose", "run"]


COMMANDS = (
    *(["diagnose", "run"], ["compare", "run"], ["report", "run"], ["runs", "."], ["spectrum", "run"]),
    *(["train", "run.yaml", "--output", "run", "--resume"], ["export", "run", "out.onnx"]),
    *(
        ["diagnose", "run", "--data", "train", "--format", "json"],
        ["train", "run/config.yaml", "--output", "again"],
    ),
    *(
        ["verify", "run"],
        ["diffuse", "run", "--steps", "500"],
        ["train", "run.yaml", "--output", "run", "--overwrite"],
    ),
    *(
        ["runs", ".", "--where", "status=finished", "--format", "json"],
        ["compare", "run", "--figure", "out.svg"],
    ),
)


def runs(draw: Draw, folder: Path, seeds: Path) -> Commands:
    shutil.copytree(seeds / "run", folder / "run")
    shutil.copy(seeds / "data.csv", folder)
    shutil.copy(seeds / "run.yaml", folder)
    if draw.random() < 0.3:  # as if it had been stopped
        manifest = json.loads((folder / "run/manifest.json").read_text())
        (folder / "run/manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    fuzz_files.damage_run(draw, folder / "run")
    for _ in range(2):
        yield pick(draw, COMMANDS)


def tables(draw: Draw, folder: Path, seeds: Path) -> Commands:
    rows = fuzz_tables.table(draw)
    (folder / "t.csv").write_bytes(fuzz_tables.text(draw, rows))
    target = ["--target", pick(draw, [*rows[0], "0", "99"]).replace("\0", "")] if draw.random() < 0.3 else []
    yield ["init", "c.yaml", "--data", "t.csv", *target]
    if not (folder / "c.yaml").exists():
        (folder / "c.yaml").write_text("task: {kind: csv, path: t.csv, target: -1}\nnetwork: {hidden: [3]}\n")
    options = ["--set", "training={method: implicit, steps: 6}", *fuzz_tables.task_options(draw, rows)]
    yield ["validate", "c.yaml", *options]
    yield ["train", "c.yaml", "--output", "run", *options]
    if (folder / "run" / "network.npz").exists():
        yield pick(draw, (["predict", "run"], ["predict", "run", "--data", "t.csv", "--format", "json"]))
        yield pick(draw, (["infer", "run"], ["diagnose", "run"], ["export", "run", "out.onnx"]))


def questions(draw: Draw, folder: Path, seeds: Path) -> Commands:
    run = pick(draw, [f"of_{target}" for target in fuzz_tables.TARGETS])
    shutil.copytree(seeds / run, folder / "run")
    shutil.copy(seeds / "table.csv", folder)
    if draw.random() < 0.2:
        fuzz_files.damage_run(draw, folder / "run")
    rows = fuzz_tables.spoil(draw, fuzz_tables.known_rows(draw, int(draw.integers(1, 20))))
    content = fuzz_tables.text(draw, rows)
    (folder / "new.csv").write_bytes(fuzz_files.flip(draw, content) if draw.random() < 0.1 else content)
    options = ["--budget"] if draw.random() < 0.3 else []
    where = pick(draw, ("new.csv", "new.csv", "new.csv", "validation", "test", "-", ".", "run/samples.csv"))
    if draw.random() < 0.4:
        yield ["predict", "run", "--data", where, "--format", pick(draw, ("csv", "json")), *options]
    else:
        data = ["--data", where] if draw.random() < 0.5 else []
        yield ["infer", "run", *data, *fuzz_tables.questions(draw)]


def comparisons(draw: Draw, folder: Path, seeds: Path) -> Commands:
    shutil.copytree(seeds / "run", folder / "run")
    for name in ("data.csv", "samples.npz", "map.yaml"):
        shutil.copy(seeds / name, folder)
    name = pick(draw, ("other.npz", "other.pt", "reference.onnx", "activations.npz", "activations.npz"))
    content = (seeds / name).read_bytes()
    (folder / name).write_bytes(fuzz_files.damaged(draw, seeds / name) if draw.random() < 0.7 else content)
    if draw.random() < 0.2:
        (folder / "map.yaml").write_bytes(fuzz_files.damaged(draw, seeds / "map.yaml"))
    if name.endswith(".onnx") and draw.random() < 0.4:
        yield ["record", name, "--data", "samples.npz"]
        return
    options = []
    for key, values in {
        "--budget": ("0.99", "0", "1", "nan", "2"),
        "--map": ("map.yaml", "data.csv", "nothing"),
        "--precision": ("int8", "float16", "float64", "x"),
        "--data": ("train", "samples.npz", "data.csv"),
        "--limit": ("1", "0", "5"),
        "--format": ("json", "csv"),
    }.items():
        if draw.random() < 0.25:
            options += [key, pick(draw, values)]
    yield ["diff", "run", name, *options, *(["--fail-on", "significant"] if draw.random() < 0.1 else [])]


KINDS: dict[str, Kind] = {
    "configurations": Kind(10_000, configurations, may_want_memory=True),
    "sweeps": Kind(600, sweeps, may_want_memory=True),
    "trainings": Kind(200, trainings),
    "pins": Kind(200, pins),
    "models": Kind(600, models),
    "data": Kind(300, data),
    "runs": Kind(600, runs),
    "tables": Kind(600, tables),
    "questions": Kind(600, questions),
    "comparisons": Kind(300, comparisons),
}


def not_finite(folder: Path) -> str | None:
    """Name a number of a run's tables that is not finite, unless the run has diverged; None if all are."""
    run = folder / "run"
    try:
        if json.loads((run / "manifest.json").read_text())["status"] == "diverged":
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for path in sorted(run.glob("*.csv")):
        values = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in values.columns.difference(NAMED):
            if values[column].str.fullmatch(r"[+-]?inf|nan", case=False).any():
                return f"not finite: {path.name}, {column}"
    return None


def run_case(name: str, number: int, seed: int, seeds: Path, tally: Tally) -> None:
    """Make a case, run its commands, and keep it if one is at fault."""
    kind = KINDS[name]
    draw = np.random.default_rng([seed, list(KINDS).index(name), number])
    tally.tried += 1
    pictures = draw.random() < WITH_PICTURES
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        folder, before = Path(place, "case"), Path(place, "before")
        folder.mkdir()
        for arguments in kind.make(draw, folder, seeds):
            shutil.rmtree(before, ignore_errors=True)
            shutil.copytree(folder, before, symlinks=True)
            ending = call(arguments, folder, pictures=pictures)
            tally.statuses[ending.status] += 1
            tally.slowest = max(tally.slowest, ending.seconds)
            tally.memory = max(tally.memory, ending.memory)
            fault = ending.fault(
                may_want_memory=kind.may_want_memory,
                may_find="--fail-on" in arguments,
                is_data=arguments[0] == "predict" or "csv" in arguments,
            )
            if fault is None and name in ("trainings", "data", "tables") and ending.status == 0:
                fault = not_finite(folder)
            if fault is not None:
                tally.faults.setdefault(fault, []).append(number)
                if len(tally.faults[fault]) <= 3:
                    _keep(KEPT / f"{name}-{number}", before, arguments, ending, fault)
                return


def _keep(place: Path, inputs: Path, arguments: list[str], ending: Ending, fault: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(inputs, place, symlinks=True)
    (place / "cmd.sh").write_text(f"# {fault}\nsheaf {shlex.join(arguments)}\n")
    (place / "seen.txt").write_text(f"status {ending.status}\n{ending.out}\n{ending.err}\n")


def tallies_table(tallies: dict[str, Tally]) -> Table:
    """Return a row a kind: how many cases, how the commands ended, what was at fault, time and memory."""
    table = house_table("Fuzzed")
    table.add_column("kind", no_wrap=True)
    for header in ("cases", "done", "failed", "refused", "at fault", "slowest", "most memory"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, tally in tallies.items():
        faults = sum(map(len, tally.faults.values()))
        counts = (tally.tried, *(tally.statuses[status] for status in (0, 1, 2)), faults)
        table.add_row(
            name, *(f"{n:,}" for n in counts), f"{tally.slowest:.1f} s", f"{tally.memory / 1e6:,.0f} MB"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, or when all is done")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, help="this kind alone")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this case of it alone")
    given = parser.parse_args()
    load()
    names = [given.kind] if given.kind else list(KINDS)
    tallies = {name: Tally() for name in names}
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as place:
        seeds = Path(place)
        fuzz_files.make_models(seeds)
        fuzz_files.make_data(seeds)
        fuzz_files.make_run(seeds)
        fuzz_files.make_references(seeds)
        fuzz_tables.make_runs(seeds)
        if given.only is not None:
            run_case(given.kind, given.only, given.seed, seeds, tallies[given.kind])
        end = time.monotonic() + 60.0 * given.minutes
        while given.only is None and time.monotonic() < end:
            left = [name for name in names if tallies[name].tried < KINDS[name].cases]
            if not left:
                break
            name = min(left, key=lambda name: tallies[name].tried / KINDS[name].cases)
            run_case(name, tallies[name].tried, given.seed, seeds, tallies[name])
    stdout().print(tallies_table(tallies))
    faults = [(name, *item) for name, tally in tallies.items() for item in tally.faults.items()]
    for name, fault, numbers in sorted(faults, key=lambda item: -len(item[2])):
        say(f"{name} {', '.join(map(str, numbers[:6]))} ({len(numbers)}): {fault}")
    if faults:
        say(f"\nKept in {KEPT}; again: benchmarks/fuzz.py --seed {given.seed} --kind KIND --only NUMBER")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
