"""From the file of a sweep to a Sweep."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sheafcli.config.document import Document, KeyPath, Origin, Problem, dotted, shown
from sheafcli.config.load import apply_overrides, named_after, overridden_key, read_document, resolve_paths
from sheafcli.config.naming import ALLOWED, NAME
from sheafcli.config.problems import did_you_mean, input_error, problem_at
from sheafcli.config.ranges import LONGEST, Span, range_values
from sheafcli.config.search import BATCHES, FACTORS, METHODS, RUNGS, Search
from sheafcli.config.search import KEYS as SEARCH_KEYS
from sheafcli.config.sweep import FOLD, REPEATS, SEED, Axis, Choice, Drawn, Sweep

KEYS = ("name", "base", "cross", "zip", "seeds", "folds", "search")
MOST_FOLDS = 1000
LONGEST_NAME = 90  # a run is called by the sweep's name and a number, in 100 characters at most

_BASE = "must be the path of a configuration, or the configuration itself"
_METHODS = f"{', '.join(METHODS[:-1])} or {METHODS[-1]}"
_SEARCH = "must be how to search, such as {method: halving} or {method: random, runs: 50}"
_VALUES = "must be a list of values, or a range {from: 1.0e-4, to: 0.1, count: 7, scale: log}"


def load_sweep(path: Path | str, overrides: Sequence[str] = ()) -> Sweep:
    """Read the file of a sweep.

    Parameters
    ----------
    path
        A YAML file with the keys ``base``, the path of a configuration (relative to this file) or the
        configuration itself; ``cross``, keys with values of which every combination is run; ``zip``,
        keys whose values go side by side, lists of one length; ``seeds``, a list of seeds, or their
        number; ``folds``, into how many parts the rows are cut, each of which is tested on once;
        ``search``, how many runs to draw and which to stop early (see `Search`); and ``name``, by
        default the file's stem. Values are a list, or a range (see `range_values`); a range without a count
        is drawn from. A key is dotted, such as ``training.beta``; it may be a whole section.
    overrides
        Strings ``a.b=c``, which set a key in every run; if it varied, it does no longer.

    Raises
    ------
    InputError
        If anything is wrong with the file or its base; errors of single runs are found by `Sweep.runs`.
    """
    path = Path(path)
    document = read_document(
        path, "a sweep gives `base`, and what varies: `cross`, `zip`, `seeds` or `folds`"
    )
    reader = _Reader(document, path, overrides)
    sweep = reader.sweep()
    if reader.problems:
        raise input_error(reader.problems, path)
    return sweep


class _Reader:
    """Turns the document of a sweep into a Sweep, noting all that is wrong on the way."""

    def __init__(self, document: Document, path: Path, overrides: Sequence[str]):
        self._document, self._path, self._overrides = document, path, overrides
        self._given: dict[str, Any] = document.value
        self.problems = list(document.problems)

    def sweep(self) -> Sweep:
        for key in self._given:
            if key not in KEYS:
                known = did_you_mean(key, KEYS) or f"; known here: {', '.join(KEYS)}"
                self._problem((key,), f"unknown key{known}", of_key=True)
        if not {"cross", "zip", "seeds", "folds"} & set(self._given):
            self.problems.append(Problem("nothing varies; give cross, zip, seeds or folds", 1))
        base, search = self._base(), self._search()
        axes: list[Axis | Drawn] = [*self._crossed(search), *self._zipped(), *self._repeats()]
        self._check_distinct([key for axis in axes for key in axis.keys])
        fixed: set[KeyPath] = {overridden_key(override) for override in self._overrides}
        kept = tuple(axis for axis in (axis.without(fixed) for axis in axes) if axis is not None)
        self._check_drawn(search, kept)
        return Sweep(self._name(), self._path, base, kept, search)

    def _problem(self, place: KeyPath, message: str, *, of_key: bool = False) -> None:
        origin = self._document.origin(place)
        self.problems.append(problem_at(place, message, origin.of_key() if of_key else origin))

    def _unusable(self, place: KeyPath, must: str) -> None:
        self._problem(place, f"given {self._document.origin(place).given}; {must}")

    def _name(self) -> str:
        if "name" not in self._given:
            name = named_after(self._path, LONGEST_NAME)
        else:
            name = str(self._given["name"])
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            self._problem(
                ("name",),
                f"given {shown(name)}; must be text of at most {LONGEST_NAME} {ALLOWED}",
            )
        for override in self._overrides:
            if overridden_key(override) == ("name",):
                message = "a sweep names its runs; choose its directory with --output"
                self.problems.append(Problem(message, override=shown(override)))
        return name

    def _base(self) -> Document:
        given = self._given.get("base")
        base = Document({}, {(): Origin("nothing")})
        if isinstance(given, dict):
            inside = {p[1:]: o for p, o in self._document.origins.items() if p[:1] == ("base",)}
            base = Document(deepcopy(given), inside)
        elif isinstance(given, str) and (self._path.parent / given).is_file():
            base = _from_file(self._path.parent / given)
        elif isinstance(given, str):
            file = os.path.abspath(self._path.parent / given)  # resolve() stumbles over a NUL
            self._problem(("base",), f"no file {shown(file, 300)}; {_BASE}")
        elif "base" in self._given:
            self._unusable(("base",), _BASE)
        else:
            self.problems.append(Problem(f"base: missing; {_BASE}", 1))
        base.value.pop("name", None)
        apply_overrides(base, self._overrides)
        resolve_paths(base, self._path)  # what is missing is found with the runs, unless it varies
        self.problems += base.problems
        base.problems.clear()
        return base

    def _varied(self, section: str) -> Iterator[tuple[KeyPath, KeyPath, Any]]:
        """Yield the keys of `cross` or `zip`: where they stand, what they are, and what is given for them."""
        given = self._given.get(section)
        if section in self._given and (not isinstance(given, dict) or not given):
            self._unusable((section,), "must be keys with values, as in training.beta: [0.01, 0.1]")
        for name, values in given.items() if isinstance(given, dict) else ():
            place, key = (section, name), tuple(part.strip() for part in name.split("."))
            if key == ("name",):
                self._problem(place, "a sweep names its runs; leave it out", of_key=True)
            elif not all(key):
                self._problem(place, "must be a key of the configuration, such as training.beta", of_key=True)
            else:
                yield place, key, values

    def _choices(self, place: KeyPath, key: KeyPath, values: Any) -> list[Choice]:
        return [self._choice(key, *choice) for choice in self._values(place, values)]

    def _values(self, place: KeyPath, given: Any) -> list[tuple[Any, Origin]]:
        """Return the values of a list or a range, each with its origin."""
        origin = self._document.origin(place)
        if isinstance(given, list) and given:
            return [(value, self._document.origin((*place, i))) for i, value in enumerate(given)]
        if not isinstance(given, dict):
            self._unusable(place, _VALUES)
            return []
        try:
            return [(value, replace(origin, given=repr(value))) for value in range_values(given)]
        except ValueError as error:
            self._problem(place, f"{error}; {_VALUES}")
            return []

    def _choice(self, key: KeyPath, given: Any, origin: Origin) -> Choice:
        """Make paths of files in a choice absolute, and set what overrides set inside of it."""
        if not isinstance(given, str | dict):  # such as the numbers of a long range
            return Choice(given, given, origin)
        alone = Document({}, {(): origin})
        alone.replace(key, deepcopy(given), origin)
        inside = [o for o in self._overrides if _is_inside(overridden_key(o), key)]
        apply_overrides(alone, inside)
        resolve_paths(alone, self._path)
        value = alone.value
        for part in key:
            value = value[part]
        return Choice(given, value, origin)

    def _crossed(self, search: Search | None) -> Iterator[Axis | Drawn]:
        for place, key, values in self._varied("cross"):
            drawn = search is not None and search.runs is not None
            if drawn and isinstance(values, dict) and "count" not in values:
                try:
                    yield Drawn((key,), Span.of(values), self._document.origin(place))
                except ValueError as error:
                    self._problem(place, f"{error}; must be a range to draw from, {{from: 1.0e-4, to: 0.1}}")
            else:
                yield Axis((key,), tuple((choice,) for choice in self._choices(place, key, values)))

    def _zipped(self) -> list[Axis]:
        varied = [(key, self._choices(place, key, values)) for place, key, values in self._varied("zip")]
        if not varied:
            return []
        (first, choices), *rest = varied
        for key, others in rest:
            if len(others) != len(choices):
                message = f"has {len(others)} values, and {dotted(first)} has {len(choices)}"
                self._problem(
                    ("zip", dotted(key)), f"{message}; what is zipped must have as many values each"
                )
        columns = [choices for _, choices in varied]
        return [Axis(tuple(key for key, _ in varied), tuple(zip(*columns, strict=False)))]

    def _seeds(self) -> list[Axis]:
        if "seeds" not in self._given:
            return []
        place, given = ("seeds",), self._given["seeds"]
        origin = self._document.origin(place)
        if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= LONGEST:
            steps = [Choice(seed, seed, origin) for seed in range(given)]
        elif isinstance(given, list) and given:
            steps = [Choice(s, s, self._document.origin((*place, i))) for i, s in enumerate(given)]
        else:
            self._unusable(place, "must be a list of seeds, or how many: 3 stands for 0, 1, 2")
            return []
        return [Axis((SEED,), tuple((step,) for step in steps))]

    def _repeats(self) -> list[Axis]:
        """Return one axis of all that repeats a run: every seed with every fold."""
        axes = [*self._seeds(), *self._folds()]
        if len(axes) < 2:
            return axes
        steps = (one + other for one, other in itertools.product(*(axis.steps for axis in axes)))
        return [Axis(tuple(key for axis in axes for key in axis.keys), tuple(steps))]

    def _folds(self) -> list[Axis]:
        if "folds" not in self._given:
            return []
        place, given = ("folds",), self._given["folds"]
        if not isinstance(given, int) or isinstance(given, bool) or not 2 <= given <= MOST_FOLDS:
            self._unusable(place, f"must be how many parts the rows are cut into, from 2 to {MOST_FOLDS:,}")
            return []
        names = (f"{number}/{given}" for number in range(1, given + 1))
        return [Axis((FOLD,), tuple((Choice(name, name, self._document.origin(place)),) for name in names))]

    def _search(self) -> Search | None:
        if "search" not in self._given:
            return None
        given, before = self._given["search"], len(self.problems)
        if not isinstance(given, dict):
            self._unusable(("search",), _SEARCH)
            return None
        method = given.get("method")
        known = ("method", *SEARCH_KEYS.get(str(method), ("runs",)))
        for key in given:
            if key not in known:
                nearest = did_you_mean(key, known) or f"; known here: {', '.join(known)}"
                self._problem(("search", key), f"unknown key{nearest}", of_key=True)
        if "method" not in given:
            self._problem(("search",), f"method: missing; must be {_METHODS}", of_key=True)
        elif method not in METHODS:
            self._unusable(("search", "method"), f"must be {_METHODS}{did_you_mean(str(method), METHODS)}")
        elif method == "tpe" and find_spec("optuna") is None:
            self._problem(
                ("search", "method"),
                "tpe is Optuna's; install it with: pip install 'sheafcli[search]'",
            )
        if method in ("random", "tpe") and "runs" not in given:
            self._problem(("search",), "runs: missing; must be how many runs to draw", of_key=True)
        for key, allowed in (
            ("runs", range(1, LONGEST + 1)),
            ("factor", FACTORS),
            ("rungs", RUNGS),
            ("batch", BATCHES),
        ):
            value = given.get(key, allowed[0])
            if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
                self._unusable(("search", key), f"must be an integer from {allowed[0]} to {allowed[-1]}")
        return Search(**given) if len(self.problems) == before else None

    def _check_drawn(self, search: Search | None, axes: Sequence[Axis | Drawn]) -> None:
        """Note a search that has nothing to choose from, or not as many runs as it is to draw."""
        if search is None:
            return
        place = ("search", "runs") if search.runs is not None else ("search",)
        seeds = math.prod(len(a.steps) for a in axes if isinstance(a, Axis) and REPEATS.issuperset(a.keys))
        others = [axis for axis in axes if not REPEATS.issuperset(axis.keys)]
        if not others:
            self._problem(
                place, "nothing but seeds and folds varies: there is nothing to search; give cross or zip"
            )
        if search.runs is None or not all(axis.steps for axis in axes if isinstance(axis, Axis)):
            return
        if search.runs % seeds:
            near = [n for n in (search.runs // seeds * seeds, (search.runs // seeds + 1) * seeds) if n > 0]
            message = (
                f"each combination is run {seeds} times, for all seeds; must be a multiple of that, such as "
            )
            self._unusable(place, message + " or ".join(map(str, near)))
        if all(isinstance(axis, Axis) for axis in others):
            there = math.prod(len(axis.steps) for axis in axes if isinstance(axis, Axis))
            if search.runs > there:
                self._unusable(place, f"must be at most {there:,}, all runs that there are to draw from")

    def _check_distinct(self, keys: Sequence[KeyPath]) -> None:
        """Note keys that are given twice, and keys inside of others: one would undo the other."""
        for one, other in itertools.combinations(keys, 2):
            short, long = sorted((one, other), key=len)
            if short != long[: len(short)]:
                continue
            places = [(section, dotted(long)) for section in ("zip", "cross")]
            place = next((p for p in places if p in self._document.origins), ("seeds",))
            what = "varies twice" if long == short else f"varies inside of {dotted(short)}, which varies too"
            self._problem(place, f"{what}; keep one of the two", of_key=True)


def _from_file(path: Path) -> Document:
    """Read a base, whose origins say in which file they are."""
    base = read_document(path)
    origins = {place: replace(origin, file=path) for place, origin in base.origins.items()}
    return Document(base.value, origins, [replace(problem, file=path) for problem in base.problems])


def _is_inside(key: KeyPath, section: KeyPath) -> bool:
    return len(key) > len(section) and key[: len(section)] == section
