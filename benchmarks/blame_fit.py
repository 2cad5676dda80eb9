"""Fit how sure blame may be, and measure it on networks, tasks, depths and seeds that the fit has not seen.

    python benchmarks/blame_fit.py

Reads what `benchmarks/blame.py` has planted. Writes sheafcli/diagnostics/blame.npz, and results/blame.csv, a
row a case that was held out: what was planted, and what blame says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.ensemble import HistGradientBoostingClassifier

from sheafcli.core.types import Array
from sheafcli.diagnostics.calibration import (
    FILE,
    KINDS,
    Calibration,
    Circumstances,
    Forest,
    plain_features,
    repair_features,
)

PLANTED = Path(__file__).parent / "results" / "planted"
TABLE = Path(__file__).parent / "results" / "blame.csv"
# How hard the weights of the logit are held near zero, in units of a standardised score.
RIDGE = 2.0
# Before anything is seen a fault is as likely as none.
PRIOR = 0.5


@dataclass(frozen=True, eq=False)
class Case:
    """A network with what was planted in it (0: nothing), and the scores of its layers."""

    number: int
    task: str
    kind: str
    fault: int
    scores: list[dict[str, float]]
    about: Circumstances
    matters: bool


def cases(*names: str) -> list[Case]:
    """Return the cases of some tables."""
    return [case for name in names for case in _cases(PLANTED / f"{name}.csv")]


def _cases(path: Path) -> Iterator[Case]:
    frame = pd.read_csv(path)
    for _, rows in frame.groupby((frame["layer"] == 1).cumsum(), sort=False):
        first = rows.iloc[0]
        before, after, constant = (float(first[name]) for name in ("loss_before", "loss_after", "constant"))
        yield Case(
            int(first["number"]),
            str(first["task"]),
            str(first["kind"]),
            int(first["fault"]),
            rows.to_dict("records"),
            Circumstances(str(first["output"]), after / max(constant, 1e-300)),
            after - before > 0.1 * before + 1e-3 * constant,
        )


def exported(model: HistGradientBoostingClassifier) -> Forest:
    """Return the trees of a fitted model as arrays."""
    nodes, roots, classes, count = [], [], [], 0
    for stage in model._predictors:
        for one, tree in enumerate(stage):
            table = tree.nodes
            inner = table["is_leaf"] == 0
            children = [
                np.where(inner, table[side].astype(np.int64) + count, -1) for side in ("left", "right")
            ]
            nodes.append((table["feature_idx"], table["num_threshold"], *children, table["value"]))
            roots.append(count)
            classes.append(one)
            count += len(table)
    feature, threshold, left, right, value = (np.concatenate(part) for part in zip(*nodes, strict=True))
    return Forest(
        np.maximum(feature, 0).astype(np.int16),
        threshold,
        left.astype(np.int32),
        right.astype(np.int32),
        value.astype(np.float32),
        np.array(roots, dtype=np.int32),
        np.array(classes, dtype=np.int16),
        np.ravel(model._baseline_prediction).astype(np.float64),
    )


def boosted(X: Array, y: Array, **options: float) -> Forest:
    """Return boosted trees that were fitted to classes y, with what both forests have in common."""
    model = HistGradientBoostingClassifier(
        **options, l2_regularization=5.0, max_features=0.4, early_stopping=False, random_state=0
    )
    return exported(model.fit(X, y))


def fitted_where(planted: list[Case]) -> Forest:
    """Return the forest that says of every layer whether it is at fault."""
    X = np.vstack([plain_features(case.scores, case.about) for case in planted])
    y = np.concatenate([np.arange(1, len(case.scores) + 1) == case.fault for case in planted])
    return boosted(X, y, max_iter=200, max_leaf_nodes=15, learning_rate=0.06, min_samples_leaf=30)


def fitted_what(planted: list[Case]) -> Forest:
    """Return the forest that says of a layer at fault of what kind the fault is."""
    some = [case for case in planted if case.fault]
    X = np.array([plain_features(case.scores, case.about)[case.fault - 1] for case in some])
    y = np.array([list(KINDS).index(case.kind) for case in some])
    return boosted(X, y, max_iter=60, max_leaf_nodes=8, learning_rate=0.12, min_samples_leaf=20)


def fitted_logit(where: Forest, planted: list[Case]) -> tuple[Array, Array]:
    """Return w and v of the conditional logit, at the most likelihood less a ridge."""
    seen = [(*_features(where, case), case.fault) for case in planted]
    weight = np.array([1.0 if fault else 0.0 for *_, fault in seen])
    weight = np.where(weight == 1.0, PRIOR / weight.sum(), (1.0 - PRIOR) / (len(seen) - weight.sum())) * len(
        seen
    )
    scale = np.vstack([u for u, _, _ in seen]).std(axis=0) + 1e-9
    scale_none = np.array([u_none for _, u_none, _ in seen]).std(axis=0)
    scale_none[scale_none == 0.0] = 1.0
    held = np.concatenate([np.ones(len(scale)), [0.0], np.ones(len(scale_none) - 1)]) * RIDGE

    def cost(x: Array) -> tuple[float, Array]:
        w, v = x[: len(scale)] / scale, x[len(scale) :] / scale_none
        total, slope_w, slope_v = 0.0, np.zeros_like(w), np.zeros_like(v)
        for (u, u_none, fault), heavy in zip(seen, weight, strict=True):
            logs = log_softmax(np.append(u @ w, u_none @ v))
            total -= heavy * logs[fault - 1]
            left = np.exp(logs)
            left[fault - 1] -= 1.0
            slope_w += heavy * (left[:-1] @ u)
            slope_v += heavy * left[-1] * u_none
        slope = np.concatenate([slope_w / scale, slope_v / scale_none]) + held * x
        return total + 0.5 * float(held @ (x * x)), slope

    x = minimize(cost, np.zeros(len(held)), jac=True, method="L-BFGS-B").x
    return x[: len(scale)] / scale, x[len(scale) :] / scale_none


def _features(where: Forest, case: Case) -> tuple[Array, Array]:
    odds = where(plain_features(case.scores, case.about))[:, 0]
    return repair_features(case.scores, odds, case.about)


def judged(calibration: Calibration, held_out: list[Case]) -> pd.DataFrame:
    """Return a row a case: what was planted, what blame says, and what the evidence alone says."""
    rows = []
    for case in held_out:
        blame = calibration(case.scores, case.about)
        order = np.argsort(-blame.layers, kind="stable")
        kind = int(blame.kinds[order[0]].argmax())
        evidence = np.array(
            [max(one[f"evidence_{part}"] for part in ("layer", "neuron", "input")) for one in case.scores]
        )
        second = np.argsort(-evidence, kind="stable")
        rows.append(
            {
                "number": case.number,
                "task": case.task,
                "layers": len(case.scores),
                "kind": case.kind,
                "fault": case.fault,
                "matters": case.matters,
                "first": order[0] + 1,
                "second": order[1] + 1 if len(order) > 1 else 0,
                "blame": blame.layers[order[0]],
                "blame_second": blame.layers[order[1]] if len(order) > 1 else 0.0,
                "none": blame.none,
                "told_kind": calibration.kinds[kind],
                "kind_blame": blame.kinds[order[0], kind],
                "evidence_first": second[0] + 1,
                "evidence_second": second[1] + 1 if len(order) > 1 else 0,
            }
        )
    return pd.DataFrame(rows)


def calibration_error(sure: Array, right: Array, bins: int = 10) -> float:
    """Return the mean distance of how sure an answer is from how often it is right, in bins of the former."""
    place = np.minimum((np.asarray(sure) * bins).astype(int), bins - 1)
    return float(
        sum(
            np.mean(place == b) * abs(np.mean(sure[place == b]) - np.mean(right[place == b]))
            for b in set(place)
        )
    )


def figures(table: pd.DataFrame) -> dict[str, float]:
    """Return what was measured: how often the first layer, or one of two, is right, and how sure that was."""
    faults = table[table["fault"] > 0]
    matter = faults[faults["matters"]]
    first = faults["first"] == faults["fault"]
    given = (faults["blame"] / (1.0 - faults["none"])).to_numpy()
    sure = faults[faults["blame"] * faults["kind_blame"] >= 0.9]
    firm = faults[faults["blame"] >= 0.9]
    return {
        "faults": len(faults),
        "networks": faults["number"].nunique(),
        "chance": float((1.0 / faults["layers"]).mean()),
        "top_1": float(first.mean()),
        "top_2": float((first | (faults["second"] == faults["fault"])).mean()),
        "top_1_that_matter": float((matter["first"] == matter["fault"]).mean()),
        "top_2_that_matter": float(
            ((matter["first"] == matter["fault"]) | (matter["second"] == matter["fault"])).mean()
        ),
        "evidence_top_1": float((faults["evidence_first"] == faults["fault"]).mean()),
        "evidence_top_2": float(
            (
                (faults["evidence_first"] == faults["fault"]) | (faults["evidence_second"] == faults["fault"])
            ).mean()
        ),
        "calibration_error": calibration_error(given, first.to_numpy()),
        "kind": float((faults["told_kind"] == faults["kind"])[first].mean()),
        "layer_told": len(firm) / len(faults),
        "layer_told_right": float((firm["first"] == firm["fault"]).mean()),
        "kind_told": len(sure) / len(faults),
        "kind_told_right": float(
            ((sure["told_kind"] == sure["kind"]) & (sure["first"] == sure["fault"])).mean()
        ),
    }


def main() -> None:
    """Fit, measure, and write."""
    plain, repaired = cases("plain_fit"), cases("fit")
    where, what = fitted_where(plain), fitted_what(plain)
    weights = fitted_logit(where, repaired)
    calibration = Calibration(where, what, *weights, tuple(KINDS))
    table = judged(calibration, cases("held_out")).assign(part="held_out")
    healthy = judged(calibration, cases("healthy")).assign(part="healthy")
    pd.concat([table, healthy]).to_csv(TABLE, index=False, float_format="%.4g")
    measured = figures(table) | {
        "healthy": len(healthy),
        "false_alarms": float((healthy["blame"] >= 0.9).mean()),
        "false_alarms_of_two": float((healthy["blame"] + healthy["blame_second"] >= 0.9).mean()),
    }
    print(json.dumps(measured, indent=2))
    right = table[table["fault"] > 0].assign(right=lambda t: t["first"] == t["fault"])
    right["kind_right"] = right["told_kind"] == right["kind"]
    print(right.groupby("kind")[["right", "kind_right", "blame"]].mean().round(2).to_string())
    print(right.groupby("task")[["right", "blame"]].mean().round(2).to_string())
    about = {
        "made_by": "benchmarks/blame.py, benchmarks/blame_fit.py",
        "fitted_on": f"{len(plain)} and {len(repaired)} cases in {len({c.number for c in plain})} and "
        f"{len({c.number for c in repaired})} networks",
        "tasks": sorted({case.task for case in plain}),
        "scikit_learn": sklearn.__version__,
        "held_out": measured,
    }
    parts = {
        f"{name}_{part}": getattr(forest, part)
        for name, forest in (("where", where), ("what", what))
        for part in Forest.__dataclass_fields__
    }
    np.savez_compressed(
        FILE,
        about=np.array(json.dumps(about)),
        kinds=np.array(list(KINDS)),
        layer_weights=weights[0],
        none_weights=weights[1],
        **parts,
    )
    print(FILE.name, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
