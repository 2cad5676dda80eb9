"""Five tables with text, missing values and dates, beside scikit-learn's MLP behind a ColumnTransformer.

Both see the same rows, and train networks of the same widths by as many steps of Adam on all rows.
Penguins, cars and the weather of Seattle are real (experiments/data); passengers and incomes are drawn
here by a seed, after the kinds of columns that the tables of the Titanic and of the 1994 census have:
nothing is downloaded.

    python benchmarks/messy_tables.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sheafcli as sc
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.observer import Silent

DATA = Path(__file__).parents[1] / "experiments" / "data"
STEPS, RATE, WIDTHS = 300, 0.01, (16,)

TASKS = {
    "penguins": {"target": "species", "missing": "impute"},
    "cars": {"target": "mpg", "missing": "impute", "exclude": ["name"], "dates": {"year": "iso"}},
    "weather": {"target": "weather", "dates": {"date": "%Y/%m/%d"}, "split": "ordered"},
    "passengers": {"target": "survived", "missing": "impute", "exclude": ["name", "ticket"]},
    "incomes": {"target": "income", "missing": "impute", "dates": {"since": "%d/%m/%Y"}},
}


def passengers(n: int = 900) -> pd.DataFrame:
    """Draw a table like that of the Titanic."""
    rng = np.random.default_rng(1912)
    level = rng.choice([1, 2, 3], n, p=[0.24, 0.21, 0.55])
    sex = rng.choice(["male", "female"], n, p=[0.65, 0.35])
    age = np.round(np.clip(rng.normal(42 - 6 * level, 14), 0.5, 80), 1)
    fare = np.round(np.exp(rng.normal(4.6 - 0.9 * (level - 1), 0.5)), 2)
    z = 2.4 * (sex == "female") - 0.9 * (level - 2) - 0.02 * (age - 30) - 0.7 + rng.logistic(0, 1, n)
    table = pd.DataFrame(
        {
            "name": [f"Passenger, No. {i}" for i in range(n)],
            "class": level,
            "sex": sex,
            "age": age,
            "ticket": [f"{'PC ' if i % 3 else ''}{10_000 + 7 * i}" for i in range(n)],
            "fare": fare,
            "deck": rng.choice(list("ABCDEFT"), n, p=[0.1, 0.2, 0.3, 0.2, 0.12, 0.07, 0.01]),
            "embarked": rng.choice(["S", "C", "Q"], n, p=[0.72, 0.19, 0.09]),
            "alone": rng.choice(["yes", "no"], n),
            "survived": np.where(z > 0, "yes", "no"),
        }
    )
    table.loc[rng.random(n) < 0.2, "age"] = np.nan
    table.loc[rng.random(n) < 0.5, "deck"] = np.nan
    table.loc[rng.random(n) < 0.01, "embarked"] = np.nan
    return table


def incomes(n: int = 3000) -> pd.DataFrame:
    """Draw a table like that of the 1994 census."""
    rng = np.random.default_rng(1994)
    years = np.clip(np.round(rng.normal(10, 2.6, n)), 1, 16)
    age = np.clip(np.round(rng.gamma(9, 4.3, n)), 17, 90)
    hours = np.clip(np.round(rng.normal(40, 11, n)), 1, 99)
    work = rng.choice(
        ["Private", "Self-emp", "Gov", "Never-worked", "?"], n, p=[0.7, 0.11, 0.13, 0.004, 0.056]
    )
    lands = ["United-States", "Mexico", "Cuba", "Laos", "Holand"]
    since = pd.Timestamp("1970-01-01") + pd.to_timedelta(rng.integers(0, 8700, n), unit="D")
    z = 0.45 * (years - 10) + 0.05 * (age - 38) - 0.001 * (age - 45) ** 2 + 0.04 * (hours - 40) - 1.2
    return pd.DataFrame(
        {
            "age": age.astype(int),
            "workclass": work,
            "education_years": years.astype(int),
            "married": rng.choice(["True", "False"], n),
            "country": rng.choice(lands, n, p=[0.92, 0.05, 0.015, 0.01, 0.005]),
            "hours": hours.astype(int),
            "since": pd.Series(since).dt.strftime("%d/%m/%Y"),
            "income": np.where(z + rng.logistic(0, 1, n) > 0, ">50K", "<=50K"),
        }
    )


def ours(path: Path, options: dict, seed: int, folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Train on a table as it is; return the predictions of its test part, and its training lines."""
    config = folder / f"{path.stem}-{seed}.yaml"
    rows = [f"  {key}: {value}" for key, value in options.items()]
    config.write_text(
        "\n".join(
            [
                f"seed: {seed}",
                "task:",
                "  kind: csv",
                f"  path: {path}",
                *rows,
                f"network: {{hidden: {list(WIDTHS)}}}",
                f"training: {{method: backprop, optimizer: adam, learning_rate: {RATE}, steps: {STEPS}}}",
            ]
        )
    )
    experiment = Experiment.load(config)
    run = RunDirectory(folder / config.stem)
    run.create(experiment.config, overwrite=True)
    conduct(experiment, run, Silent())
    return sc.predict(run.path), experiment.task.rows.train


def theirs(table: pd.DataFrame, options: dict, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Return what scikit-learn predicts for the test rows."""
    target = options["target"]
    X = table.drop(columns=[target, *options.get("exclude", [])])
    for column, format_ in options.get("dates", {}).items():
        when = pd.to_datetime(X[column], format=None if format_ == "iso" else format_)
        X[column] = (when - pd.Timestamp(0)) / pd.Timedelta(days=1)
    marks = options.get("missing") == "impute"
    one_hot = OneHotEncoder(min_frequency=0.01, handle_unknown="infrequent_if_exist", sparse_output=False)
    number = make_pipeline(SimpleImputer(add_indicator=marks), StandardScaler())
    text = make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=False), one_hot)
    numeric = make_column_selector(dtype_include="number")
    transformer = ColumnTransformer(
        [("n", number, numeric), ("t", text, make_column_selector(dtype_exclude="number"))]
    )
    kind = MLPRegressor if target == "mpg" else MLPClassifier
    options_of_mlp = {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": STEPS, "batch_size": len(train)}
    mlp = kind(
        hidden_layer_sizes=WIDTHS,
        learning_rate_init=RATE,
        max_iter=STEPS,
        random_state=seed,
        **options_of_mlp,
    )
    y = table[target]
    scaler = StandardScaler().fit(y[train].to_frame()) if target == "mpg" else None
    taught = y[train] if scaler is None else scaler.transform(y[train].to_frame())[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(transformer, mlp).fit(X.iloc[train], taught)
        found = model.predict(X.iloc[test])
    return found if scaler is None else scaler.inverse_transform(found[:, None])[:, 0]


def main() -> None:
    """Print the scores of every table: accuracy, or R^2."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    print(f"{'table':12} {'score':9} {'sheaf predict':>20} {'scikit-learn':>20} {'difference':>20}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        passengers().to_csv(folder / "passengers.csv", index=False)
        incomes().to_csv(folder / "incomes.csv", index=False)
        for stem, options in TASKS.items():
            path = DATA / f"{stem}.csv"
            path = path if path.exists() else folder / f"{stem}.csv"
            blank = ["", "NA", "?"]
            table = pd.read_csv(path, na_values=blank, keep_default_na=False)
            target = options["target"]
            score = r2_score if target == "mpg" else accuracy_score
            pairs = []
            for seed in range(seeds):
                found, lines = ours(path, options, seed, folder)
                test, train = found["line"].to_numpy() - 2, lines - 2
                truth = table[target].iloc[test]
                other = theirs(table, options, train, test, seed)
                pairs.append((score(truth, found["prediction"]), score(truth, other)))
            mine, its = np.array(pairs).T
            gap = mine - its
            columns = [f"{x.mean():8.4f} +- {x.std():.4f}" for x in (mine, its, gap)]
            word = "R2" if target == "mpg" else "accuracy"
            print(f"{stem:12} {word:9} " + " ".join(f"{column:>20}" for column in columns))


if __name__ == "__main__":
    main()
