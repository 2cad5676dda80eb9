"""Fit how sure blame may be, and measure it on networks, tasks, depths and seeds that the fit has not seen.

    python benchmarks/blame_fit.py

Reads what `benchmarks/blame.py` has planted. What is chosen is chosen by cross-validation over the networks
of the table `fit`; those of `held_out` are looked at in the end alone. Writes sheafcli/diagnostics/blame.npz,
and in results/ blame_validation.csv, a row a choice, blame.csv, a row a case that was held out, and
localise_blame.csv, a row a fault of `benchmarks/localise.py`: what was planted, and what blame says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
    evidence_of,
    order_leads,
    plain_features,
    repair_features,
)

RESULTS = Path(__file__).parent / "results"
PLANTED = RESULTS / "planted"
# How hard the weights of the logit may be held near zero, in units of a standardised score.
RIDGES = (0.5, 1.0, 2.0, 4.0, 8.0)
FOLDS = 8
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
        **options, l2_regularization=5.0, early_stopping=False, random_state=0
    )
    return exported(model.fit(X, y))


def fitted_where(planted: list[Case]) -> Forest:
    """Return the forest that says of every layer whether it is at fault."""
    X = np.vstack([plain_features(case.scores, case.about) for case in planted])
    y = np.concatenate([np.arange(1, len(case.scores) + 1) == case.fault for case in planted])
    options = {"max_iter": 800, "max_leaf_nodes": 63, "learning_rate": 0.06, "max_features": 0.15}
    return boosted(X, y, min_samples_leaf=30, **options)


def fitted_what(planted: list[Case]) -> Forest:
    """Return the forest that says of a layer at fault of what kind the fault is."""
    some = [case for case in planted if case.fault]
    X = np.array([plain_features(case.scores, case.about)[case.fault - 1] for case in some])
    y = np.array([list(KINDS).index(case.kind) for case in some])
    options = {"max_iter": 60, "max_leaf_nodes": 8, "learning_rate": 0.12, "max_features": 0.4}
    return boosted(X, y, min_samples_leaf=20, **options)


def fitted_order(planted: list[Case]) -> float:
    """Return how often an order that leads in the layer at fault says the kind, by Laplace's rule."""
    right = [
        int(case.scores[case.fault - 1]["order"]) == list(KINDS).index(case.kind)
        for case in planted
        if case.fault and order_leads(case.scores)[case.fault - 1]
    ]
    print(sum(right), "of", len(right), "orders say the kind")
    return (sum(right) + 1) / (len(right) + 2)


class Seen(NamedTuple):
    """What the logit sees of a case: u, a row a layer, u_0, the layer at fault (0: none) and the network."""

    u: Array
    u_none: Array
    fault: int
    number: int


def seen_by(where: Forest, planted: list[Case]) -> list[Seen]:
    """Return what the logit sees."""
    odds = [where(plain_features(case.scores, case.about))[:, 0] for case in planted]
    return [
        Seen(*repair_features(case.scores, told, case.about), case.fault, case.number)
        for case, told in zip(planted, odds, strict=True)
    ]


def weights_of(seen: list[Seen]) -> Array:
    """Return how much each case counts: so much that a fault is as likely as none as PRIOR says."""
    faulty = np.array([one.fault > 0 for one in seen])
    return np.where(faulty, PRIOR / faulty.mean(), (1.0 - PRIOR) / (1.0 - faulty.mean()))


def fitted_logit(seen: list[Seen], ridge: float) -> tuple[Array, Array]:
    """Return w and v of the conditional logit, at the most likelihood less a ridge."""
    scale = np.vstack([one.u for one in seen]).std(axis=0) + 1e-9
    scale_none = np.array([one.u_none for one in seen]).std(axis=0)
    scale_none[scale_none == 0.0] = 1.0
    # All cases in one array: a row an answer, as many as in the deepest network, and the last of them none.
    most, cases_, k = max(len(one.u) for one in seen), np.arange(len(seen)), len(scale)
    rows = np.zeros((len(seen), most + 1, k + len(scale_none)))
    absent = np.full((len(seen), most + 1), -np.inf)
    absent[:, most] = 0.0
    for at, one in enumerate(seen):
        rows[at, : len(one.u), :k] = one.u / scale
        rows[at, most, k:] = one.u_none / scale_none
        absent[at, : len(one.u)] = 0.0
    right = np.array([one.fault - 1 if one.fault else most for one in seen])
    heavy = weights_of(seen)
    held = np.concatenate([np.ones(k), [0.0], np.ones(len(scale_none) - 1)]) * ridge

    def cost(x: Array) -> tuple[float, Array]:
        logs = log_softmax(rows @ x + absent, axis=1)
        left = np.exp(logs)
        left[cases_, right] -= 1.0
        slope = np.einsum("ca,cak->k", left * heavy[:, None], rows)
        return 0.5 * float(held @ (x * x)) - float(heavy @ logs[cases_, right]), slope + held * x

    x = minimize(cost, np.zeros(len(held)), jac=True, method="L-BFGS-B").x
    return x[:k] / scale, x[k:] / scale_none


def answers(weights: tuple[Array, Array], one: Seen) -> Array:
    """Return the probabilities of a fault in every layer, and of none."""
    return np.exp(log_softmax(np.append(one.u @ weights[0], one.u_none @ weights[1])))


def validated(seen: list[Seen], ridge: float) -> dict[str, float]:
    """Return what a ridge is worth on networks that were left out: log losses, answers, calibration."""
    told: list[Array] = [np.empty(0)] * len(seen)
    for fold in range(FOLDS):
        weights = fitted_logit([one for one in seen if one.number % FOLDS != fold], ridge)
        for at, one in enumerate(seen):
            if one.number % FOLDS == fold:
                told[at] = answers(weights, one)
    faults = [(p[:-1] / p[:-1].sum(), one.fault) for p, one in zip(told, seen, strict=True) if one.fault]
    right = np.array([p.argmax() + 1 == fault for p, fault in faults])
    return {
        "ridge": ridge,
        "log_loss": -float(
            np.average(
                [np.log(p[one.fault - 1]) for p, one in zip(told, seen, strict=True)],
                weights=weights_of(seen),
            )
        ),
        "log_loss_given_fault": -float(np.mean([np.log(p[fault - 1]) for p, fault in faults])),
        "top_1": float(right.mean()),
        "top_2": float(np.mean([fault in np.argsort(-p)[:2] + 1 for p, fault in faults])),
        "calibration_error": calibration_error(np.array([p.max() for p, _ in faults]), right),
    }


def judged(calibration: Calibration, held_out: list[Case]) -> pd.DataFrame:
    """Return a row a case: what was planted, what blame says, and what the evidence alone says."""
    rows = []
    for case in held_out:
        blame = calibration(case.scores, case.about)
        order = np.argsort(-blame.layers, kind="stable")
        kind = int(blame.kinds[order[0]].argmax())
        second = np.argsort(-evidence_of(case.scores), kind="stable")
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


def spread_of_error(sure: Array, right: Array, number: Array, draws: int = 2000) -> dict[str, float]:
    """Return what the calibration error of as many answers is where they are right as often as they say.

    And its standard error, by drawing networks with replacement.
    """
    rng = np.random.default_rng(0)
    perfect = [calibration_error(sure, rng.random(len(sure)) < sure) for _ in range(draws)]
    by_network = [np.flatnonzero(number == one) for one in np.unique(number)]
    again = []
    for _ in range(draws):
        some = np.concatenate([by_network[i] for i in rng.integers(len(by_network), size=len(by_network))])
        again.append(calibration_error(sure[some], right[some]))
    return {
        "calibration_error_if_perfect": float(np.mean(perfect)),
        "calibration_error_if_perfect_95": float(np.quantile(perfect, 0.95)),
        "calibration_error_standard_error": float(np.std(again)),
    }


def figures(table: pd.DataFrame) -> dict[str, float]:
    """Return what was measured: how often the first layer, or one of two, is right, and how sure that was."""
    faults = table[table["fault"] > 0]
    matter = faults[faults["matters"]]
    first = faults["first"] == faults["fault"]
    given, number = (faults["blame"] / (1.0 - faults["none"])).to_numpy(), faults["number"].to_numpy()
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
        "top_1_standard_error": float((first.groupby(number).mean() - first.mean()).std())
        / np.sqrt(len(set(number))),
        "calibration_error": calibration_error(given, first.to_numpy()),
        **spread_of_error(given, first.to_numpy(), number),
        "kind": float((faults["told_kind"] == faults["kind"])[first].mean()),
        "layer_told": len(firm) / len(faults),
        "layer_told_right": float((firm["first"] == firm["fault"]).mean()),
        "kind_told": len(sure) / len(faults),
        "kind_told_right": float(
            ((sure["told_kind"] == sure["kind"]) & (sure["first"] == sure["fault"])).mean()
        ),
    }


def localised(calibration: Calibration, planted: list[Case]) -> pd.DataFrame:
    """Return a row a fault of `benchmarks/localise.py`: where it is, and which layers scores name."""
    rows = []
    for case in planted:
        lost = [min(0.0, one["loss_layer"]) for one in case.scores]
        told = {
            "blame": int(calibration(case.scores, case.about).layers.argmax()) + 1,
            "evidence": int(evidence_of(case.scores).argmax()) + 1,
            "repaired_loss": int(np.argmin(lost)) + 1,
        }
        rows.append(
            {"network": case.task, "kind": case.kind, "number": case.number, "layer": case.fault} | told
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Fit, measure, and write."""
    plain, repaired = cases("plain_fit"), cases("fit")
    where, what = fitted_where(plain), fitted_what(plain)
    seen = seen_by(where, repaired)
    validation = pd.DataFrame(validated(seen, ridge) for ridge in RIDGES)
    validation.to_csv(RESULTS / "blame_validation.csv", index=False, float_format="%.4g")
    ridge = float(validation.loc[validation["log_loss"].idxmin(), "ridge"])
    print(validation.round(3).to_string(index=False), "\nchosen: ridge", ridge)
    weights = fitted_logit(seen, ridge)
    calibration = Calibration(where, what, *weights, fitted_order(repaired), tuple(KINDS))
    held_out = judged(calibration, cases("held_out"))
    held_out.to_csv(RESULTS / "blame.csv", index=False, float_format="%.4g")
    rows = localised(calibration, cases("localise"))
    rows.to_csv(RESULTS / "localise_blame.csv", index=False)
    healthy = held_out[held_out["fault"] == 0]
    measured = figures(held_out) | {
        "healthy": len(healthy),
        "false_alarms": float((healthy["blame"] >= 0.9).mean()),
        "false_alarms_of_two": float((healthy["blame"] + healthy["blame_second"] >= 0.9).mean()),
    }
    print(json.dumps(measured, indent=2))
    right = held_out[held_out["fault"] > 0].assign(right=lambda t: t["first"] == t["fault"])
    right["kind_right"] = right["told_kind"] == right["kind"]
    for column in ("kind", "task", "layers"):
        print(right.groupby(column)[["right", "kind_right", "blame"]].mean().round(2).to_string())
    about = {
        "made_by": "benchmarks/blame.py, benchmarks/blame_fit.py",
        "fitted_on": f"{len(plain)} and {len(repaired)} cases in {len({c.number for c in plain})} and "
        f"{len({c.number for c in repaired})} networks",
        "tasks": sorted({case.task for case in plain + repaired}),
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
        order=calibration.order,
        **parts,
    )
    print(FILE.name, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
