"""Configurations, sweeps, overrides and pins: right, nearly right, and hostile, as numbers are drawn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Draw = np.random.Generator

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, "", " ", "null", "~", "nan", "inf", ".inf", "-.inf", ".nan", "1e400", "1e-400"),
    *(0, -1, 1, 2, 3, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.0, -0.0, 1e-300, 1e300, 1e-5, 0.1, 0.5, 1.0),
    *(float("nan"), float("inf"), [], {}, [[]], [None], [0], [1, 2], {"a": 1}, {"kind": "csv"}),
    *(
        "a",
        "auto",
        "he",
        "random",
        "zeros",
        "softmax",
        "../x",
        "/dev/zero",
        "/",
        ".",
        "\x00",
        "\x1b[31m",
        "猫",
    ),
    *("a" * 5000, "{}", "[1, 2", "${HOME}", "%s", "[bold]", "1_000", "0x10", "010", "1:30", "2001-01-01"),
)
SYNTHETIC = ("paraboloid", "saddle", "circular", "blobs")
LINES = (
    *("&a [*a]", "a: &a {b: *a}", "<<: {seed: 1}", "!!python/object/apply:os.system ['false']", "\t- x"),
    *(
        "? {a: b} : c",
        "--- \n...",
        "%YAML 9.9",
        "!!binary aGk=",
        "!!set {a, b}",
        "key: |\n  x",
        "'",
        '"\\u0000"',
    ),
    *(
        "seed: 1\nseed: 2",
        "a" * 300 + ": 1",
        "[" * 400,
        "{a: " * 300,
        "- " * 200 + "x",
        "1: 2",
        "null: 3",
        "\ufeff",
    ),
    *(
        "x: !!int 'abc'",
        "x: !!float 'abc'",
        "x: !!timestamp 'abc'",
        "x: 2001-99-99",
        "x: 0b2",
        "x: 1__0",
        "x: 0o9",
    ),
)


# Of a pin the stalk, the place in it, the value and the spring: what may be right, and what is wrong.
PIN_PARTS = (
    (("z1", "a1", "z2", "a2", "z3"), ("a0", "y", "", "z", "zz1", "z01", "z99999999999", "猫")),
    (("0", "1", "2", "00"), ("4", "-1", "", "1.5", "9" * 30, "٣", "x")),
    (("0", "0.5", "-1", "1e30", "1e-300", "1e150"), ("1e300", "nan", "inf", "", "1,5", "1_0", "0x1", "٣")),
    (("1", "2.0", "1e-9", "1e9", "1e-300"), ("0", "-1", "1e300", "nan", "inf", "", "x")),
)


def pick(draw: Draw, options):
    """Return one of some options, as it is."""
    return options[int(draw.integers(len(options)))]


def configuration(draw: Draw, *, small: bool = False) -> dict[str, Any]:
    """Return a valid configuration; with `small` one that trains in a moment."""
    most = 30 if small else 400
    widths = [int(n) for n in draw.integers(1, 8 if small else 60, size=draw.integers(0, 4))]
    task = {"kind": pick(draw, SYNTHETIC)}
    for key in ("n_train", "n_test"):
        if small or draw.random() < 0.5:
            task[key] = int(draw.integers(4, most))
    values: dict[str, Any] = {"task": task, "network": {"hidden": widths}}
    if draw.random() < 0.5:
        values["seed"] = int(draw.integers(2**40))
    if small or draw.random() < 0.7:
        values["training"] = _training(draw, small=small)
    if draw.random() < 0.3:
        optimizer = pick(draw, ("sgd", "momentum", "adam"))
        values["baseline"] = {"epochs": int(draw.integers(1, 30)), "optimizer": optimizer}
        if draw.random() < 0.5:
            values["baseline"]["learning_rate"] = _number(draw)
    if draw.random() < 0.2:
        values["diagnostics"] = {"spectrum": bool(draw.random() < 0.5)}
    return values


def _number(draw: Draw) -> float:
    """Return a positive number, mostly usual, sometimes extreme."""
    if draw.random() < 0.7:
        return float(10.0 ** draw.uniform(-4, 1))
    return float(10.0 ** draw.uniform(-300, 300))


def _training(draw: Draw, *, small: bool) -> dict[str, Any]:
    method = pick(draw, ("heat", "equilibrium", "implicit", "backprop"))
    length = int(draw.integers(1, 60 if small else 100_000))
    if method == "heat":
        values: dict[str, Any] = {"method": method, "steps": length}
        options = {
            "dt": lambda: pick(draw, ("auto", _number(draw))),
            "alpha": lambda: _number(draw),
            "beta": lambda: pick(draw, ("auto", _number(draw))),
            "stalks": lambda: pick(draw, ("random", "zeros", "forward")),
            "reset_every": lambda: int(draw.integers(1, 50)),
            "reset_time": lambda: _number(draw),
        }
        if draw.random() < 0.2:
            del values["steps"]
            values["time"] = float(min(_number(draw), 50.0)) if small else _number(draw)
    elif method == "implicit":
        values = {"method": method, "steps": min(length, 1000)}
        options = {"kappa": lambda: _number(draw), "weight_decay": lambda: _number(draw)}
    else:
        values = {"method": method, "epochs": length}
        options = {
            "optimizer": lambda: pick(draw, ("sgd", "momentum", "adam")),
            "learning_rate": lambda: _number(draw),
            "batch_size": lambda: int(draw.integers(1, 40)),
            "schedule": lambda: pick(draw, ("constant", "cosine")),
            "weight_decay": lambda: _number(draw),
            "precision": lambda: pick(draw, ("single", "double")),
        }
    for key, value in options.items():
        if draw.random() < 0.25:
            values[key] = value()
    return values


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(*path, key), *_places(inner, (*path, key))]]


def _change(values: dict[str, Any], place: tuple, change: Callable[[Any, Any], None]) -> None:
    holder: Any = values
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])


def nearly(draw: Draw, values: dict[str, Any]) -> dict[str, Any]:
    """Return values with one to three of them replaced, taken out, renamed or wrapped."""
    values = copy.deepcopy(values)
    for _ in range(int(draw.integers(1, 4))):
        places = _places(values)
        if not places:
            break
        place, hostile = pick(draw, places), pick(draw, HOSTILE)

        def change(holder: Any, key: Any, hostile: Any = hostile) -> None:
            how = draw.integers(5)
            if how <= 1:
                holder[key] = copy.deepcopy(hostile)
            elif how == 2:
                del holder[key]
            elif how == 3 and isinstance(holder, dict):
                holder[pick(draw, (f"{key}s", str(key)[::-1], str(key).upper(), "x", ""))] = holder.pop(key)
            else:
                holder[key] = pick(draw, ([holder[key]], {"a": holder[key]}, str(holder[key])))

        _change(values, place, change)
    return values


def document(draw: Draw, values: dict[str, Any]) -> bytes:
    """Return values as YAML; in a third of the cases with hostile lines or changed bytes in it."""
    text = yaml.safe_dump(
        values, allow_unicode=True, sort_keys=False, default_flow_style=pick(draw, (None, True, False))
    )
    content = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.67:
        return content
    lines = content.split(b"\n")
    for _ in range(int(draw.integers(1, 3))):
        at = int(draw.integers(len(lines) + 1))
        if draw.random() < 0.5:
            lines.insert(at, pick(draw, LINES).encode())
        elif lines[at - 1]:
            line = bytearray(lines[at - 1])
            line[int(draw.integers(len(line)))] = int(draw.integers(256))
            lines[at - 1] = bytes(line)
    content = b"\n".join(lines)
    return content[: draw.integers(len(content) + 1)] if draw.random() < 0.1 else content


def overrides(draw: Draw) -> list[str]:
    """Return options --set, most of them none."""
    found: list[str] = []
    while draw.random() < 0.3:
        key = ".".join(
            pick(
                draw,
                (
                    "task",
                    "network",
                    "training",
                    "hidden",
                    "dt",
                    "kind",
                    "name",
                    "seed",
                    "",
                    "x",
                    "[0]",
                    "0",
                    "猫",
                ),
            )
            for _ in range(int(draw.integers(1, 4)))
        )
        value = pick(draw, HOSTILE)
        text = (
            value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
        )
        found += ["--set", pick(draw, (f"{key}={text}", key, f"{key}=={text}", f"={text}"))]
    return [text.replace("\0", "") for text in found]


def sweep(draw: Draw) -> dict[str, Any]:
    """Return a sweep, right or nearly so."""
    keys = ("training.beta", "task.n_train", "seed", "network.hidden", "training", "training.dt", "network")
    ranges = (
        {"from": 1e-4, "to": 0.1, "count": 3, "scale": "log"},
        {"from": 1, "to": 3},
        [1, 2],
        [[3], [4]],
        [],
    )
    values: dict[str, Any] = {"base": configuration(draw)}
    for section in ("cross", "zip"):
        if draw.random() < 0.6:
            values[section] = {
                pick(draw, keys): copy.deepcopy(pick(draw, ranges)) for _ in range(draw.integers(1, 3))
            }
    if draw.random() < 0.5:
        values["seeds"] = pick(draw, (3, [0, 1], 0, 10**9, "3"))
    if draw.random() < 0.3:
        values["search"] = {"method": pick(draw, ("random", "halving")), "runs": int(draw.integers(1, 9))}
    if draw.random() < 0.1:
        values["folds"] = pick(draw, (2, 5, 1, 10**9))
    return nearly(draw, values) if draw.random() < 0.6 else values


def pins(draw: Draw) -> list[str]:
    """Return options --pin and --soft-pin, right, nearly right and wrong."""
    found: list[str] = []
    for _ in range(int(draw.integers(1, 4))):
        stalk, place, value, spring = (
            pick(draw, wrong if draw.random() < 0.08 else right) for right, wrong in PIN_PARTS
        )
        if draw.random() < 0.5:
            found += ["--pin", f"{stalk}[{place}]={value}"]
        else:
            found += ["--soft-pin", f"{stalk}[{place}]={value}@{spring}"]
    return found
