"""`sheaf infer`: least changes, missing cells, designs, and what is refused."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sheafcli.runs import RunDirectory

TABLE = """\
name: homes
seed: 1
task: {kind: csv, path: homes.csv, target: price, test_fraction: 0.2}
network: {hidden: [6]}
training: {method: backprop, optimizer: adam, learning_rate: 0.01, epochs: 30, batch_size: 20}
"""
CLASSES = TABLE.replace("name: homes", "name: dear").replace(
    "target: price", "target: dear, exclude: [price]"
)


def homes():
    """Return a table of homes: area and rooms are numbers, the city is a category, a price and a class."""
    rng = np.random.default_rng(0)
    area, rooms = rng.normal(100.0, 20.0, 120).round(1), rng.integers(1, 7, 120)
    city = rng.choice(["Rome", "Oslo", "Bern"], 120)
    price = (2.0 * area + 15.0 * rooms + 60.0 * (city == "Bern") + rng.normal(0.0, 5.0, 120)).round(1)
    dear = np.where(price > np.median(price), "yes", "no")
    return pd.DataFrame({"area": area, "rooms": rooms, "city": city, "price": price, "dear": dear})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on homes once; return the folder with both runs."""
    from sheafcli.config import load_config
    from sheafcli.runs import Experiment, conduct
    from sheafcli.runs.observer import Silent

    folder = tmp_path_factory.mktemp("homes")
    homes().drop(columns="dear").to_csv(folder / "homes.csv", index=False)
    for name, text, table in (("homes", TABLE, homes().drop(columns="dear")), ("dear", CLASSES, homes())):
        table.to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.yaml").write_text(text.replace("homes.csv", f"{name}.csv"))
        directory = RunDirectory(folder / "results" / name)
        directory.create(load_config(folder / f"{name}.yaml"), overwrite=False)
        conduct(Experiment.prepare(load_config(folder / f"{name}.yaml")), directory, Silent())
    return folder


@pytest.fixture
def run(trained, folder):
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    return Path("results/homes")


@pytest.fixture
def dear(run):
    return Path("results/dear")


def told(outcome):
    assert outcome.code == 0, outcome
    return json.loads(outcome.out)


def given_by(run, cells):
    """Return what the run's network gives for cells, by its own preprocessing."""
    directory = RunDirectory(run)
    preprocessing = directory.preprocessing()
    encoded = preprocessing.encode({name: [str(cell)] for name, cell in cells.items()})
    return preprocessing.target.values(directory.network().predict(encoded.X))[0, 0]


def test_a_change_reaches_the_target_on_the_network_itself(sheaf, run):
    answer = told(sheaf("infer", run, "--target", "price=300", "--row", 5, "--format", "json"))
    cells = {cell["column"]: cell["inferred"] for cell in answer["inputs"]}
    assert set(cells) == {"area", "rooms", "city"}
    assert given_by(run, cells) == pytest.approx(300.0, abs=0.01)
    assert answer["rows"][0]["reached"]
    assert cells["rooms"] == int(cells["rooms"])
    assert cells["city"] in ("Rome", "Oslo", "Bern")


def test_what_was_is_the_row_of_that_line(sheaf, run):
    answer = told(sheaf("infer", run, "--target", "price=300", "--row", 5, "--format", "json"))
    row = homes().iloc[5 - 2]  # below the header
    assert {cell["column"]: cell["was"] for cell in answer["inputs"]} == {
        "area": pytest.approx(row["area"]),
        "rooms": row["rooms"],
        "city": row["city"],
    }


def test_fixed_bounded_and_free_inputs_are_kept_to(sheaf, run):
    options = ["--fixed", "city", "--bounds", "rooms=2:4", "--format", "json"]
    answer = told(sheaf("infer", run, "--target", "price=310", "--row", 5, *options))
    cells = {cell["column"]: cell["inferred"] for cell in answer["inputs"]}
    assert set(cells) == {"area", "rooms"}
    assert 2 <= cells["rooms"] <= 4
    only = told(
        sheaf("infer", run, "--target", "price=290", "--row", 5, "--free", "area", "--format", "json")
    )
    assert [cell["column"] for cell in only["inputs"]] == ["area"]


def test_a_sparse_change_is_of_one_column_where_one_will_do(sheaf, run):
    answer = told(sheaf("infer", run, "--target", "price=300", "--row", 5, "--sparse", "--format", "json"))
    assert answer["rows"][0]["changed"] == 1
    assert answer["rows"][0]["reached"]


def test_missing_cells_are_filled_in_and_the_file_keeps_the_others(sheaf, run, folder):
    table = homes().drop(columns="dear").iloc[:4].astype(object)
    table.loc[2, "area"] = ""
    table.loc[3, "city"] = ""
    table.to_csv(folder / "new.csv", index=False)
    outcome = sheaf("infer", run, "--data", "new.csv", "--output", "filled.csv")
    assert outcome.code == 0, outcome
    assert "std" in outcome.out
    filled = pd.read_csv(folder / "filled.csv")
    pd.testing.assert_series_equal(filled["rooms"], homes()["rooms"][:4], check_dtype=False)
    assert filled["area"][0] == pytest.approx(homes()["area"][0])
    assert filled["row"].tolist() == [2, 3, 4, 5]
    # What a price says about a missing area is better than the mean.
    assert abs(filled["area"][2] - homes()["area"][2]) < abs(homes()["area"].mean() - homes()["area"][2])


def test_a_parquet_file_is_filled_in_as_a_csv_file_is(sheaf, run, folder):
    pytest.importorskip("pyarrow")
    table = homes().drop(columns="dear").head(6)
    table.loc[[1, 4], "area"] = np.nan
    table.loc[2, "city"] = None
    table.to_csv(folder / "gaps.csv", index=False)
    table.to_parquet(folder / "gaps.parquet")
    of_text, of_parquet = (
        told(sheaf("infer", run, "--data", f"gaps.{kind}", "--format", "json")) for kind in ("csv", "parquet")
    )
    assert [cell["inferred"] for cell in of_parquet["inputs"]] == [
        cell["inferred"] for cell in of_text["inputs"]
    ]
    assert [cell["row"] for cell in of_parquet["inputs"]] == [1, 2, 4]  # as pandas counts them


def test_a_design_needs_no_row(sheaf, run):
    answer = told(sheaf("infer", run, "--target", "price=280", "--fixed", "city=Oslo", "--format", "json"))
    cells = {cell["column"]: cell["inferred"] for cell in answer["inputs"]}
    assert given_by(run, cells | {"city": "Oslo"}) == pytest.approx(280.0, abs=0.5)


def test_a_class_can_be_wanted(sheaf, dear):
    answer = told(sheaf("infer", dear, "--target", "dear=yes", "--data", "test", "--format", "json"))
    assert all(row["reached"] for row in answer["rows"])
    assert {row["gives"].split(" ")[0] for row in answer["rows"]} == {"dear=yes"}


def test_a_class_can_be_wanted_with_a_probability(sheaf, dear, refused):
    wanted = ["--target", "dear=yes", "--probability", 0.8, "--format", "json"]
    answer = told(sheaf("infer", dear, *wanted, "--data", "test", "--limit", 4))
    assert all(row["reached"] for row in answer["rows"])
    directory, labels = RunDirectory(dear), {}
    preprocessing = directory.preprocessing()
    for cell in answer["inputs"]:
        labels.setdefault(cell["row"], {})[cell["column"]] = [str(cell["inferred"])]
    for cells in labels.values():
        output = directory.network().predict(preprocessing.encode(cells).X)
        assert preprocessing.target.probabilities(output)[0, 1] >= 0.8
    assert answer["rows"][0]["wanted"] == "dear=yes (at least 80%)"
    refused("infer", dear, "--target", "dear=0.9", "--row", 5, words="by --probability, such as")
    refused("infer", dear, "--target", "dear>=0.9", "--row", 5, words="by --probability, such as")
    refused("infer", dear, "--row", 5, "--probability", 0.9, words="the class that --target names")
    refused("infer", dear, *wanted[:2], "--probability", 1, words="must be above 0 and below 1")


def test_inner_edges_may_share_the_strain(sheaf, run):
    options = ["--target", "price=300", "--row", 5, "--kappa", "1", "--free", "area", "--format", "json"]
    outcome = sheaf("infer", run, *options)
    rows = json.loads(outcome.out)["rows"]
    rigid = told(
        sheaf("infer", run, "--target", "price=300", "--row", 5, "--free", "area", "--format", "json")
    )
    assert 0.0 < rows[0]["distance"] < rigid["rows"][0]["distance"]


def test_a_target_out_of_reach_is_said_with_the_nearest(sheaf, run):
    outcome = sheaf("infer", run, "--target", "price=5000", "--row", 5)
    assert outcome.code == 1
    assert "price=5000 is out of reach of what is free: the nearest" in outcome.err
    assert "gives" in outcome.out


def test_every_format_has_the_rows(sheaf, run):
    outcome = sheaf("infer", run, "--target", "price=300", "--data", "test", "--limit", 3, "--format", "csv")
    frame = pd.read_csv(io.StringIO(outcome.out))
    assert len(frame) == 3
    assert frame["price"].tolist() == pytest.approx([300.0] * 3, abs=0.05)
    outcome = sheaf("infer", run, "--target", "price=300", "--data", "test", "--limit", 3)
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_data_that_changed_since_is_said(sheaf, run, folder):
    assert sheaf("train", "homes.yaml", "--quiet", "--overwrite").code == 0
    with (folder / "homes.csv").open("a") as file:
        file.write("100.0,3,Rome,250.0\n")
    outcome = sheaf("infer", run, "--target", "price=300", "--row", 5)
    assert "has changed since the run began" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--free", "aera"], "no input is called 'aera'; did you mean area?"),
        (["--target", "prize=3"], "nothing that is predicted is called 'prize'; did you mean price?"),
        (["--target", "price=dear"], "write a number"),
        (["--target", "price=nan", "--row", "5"], "write a number"),
        (["--target", "price=1e400", "--row", "5"], "write a number"),
        (["--target", "price=-1e200", "--row", "5"], "write a number"),
        (["--target", "price=300", "--probability", "0.9"], "price is a quantity"),
        (["--target", "price=300", "--bounds", "area=90:80"], "the first is above the second"),
        (["--target", "price=300", "--bounds", "rooms=2.2:2.8"], "no whole number lies between"),
        (["--target", "price=300", "--bounds", "area"], "write NAME=LOW:HIGH"),
        (["--target", "price=300", "--bounds", "city=1:2"], "a category has no bounds"),
        (["--target", "price=300", "--fixed", "city=Paris"], "no such category"),
        (["--target", "price=300", "--fixed", "city"], "write --fixed city=VALUE"),
        (
            ["--target", "price=300", "--row", "5", "--free", "area", "--fixed", "area"],
            "is in --free and in --fixed",
        ),
        (["--target", "price=300", "--row", "500"], "no line in the data has that number"),
        (["--target", "price=300", "--pin", "z7[0]=1", "--row", "5"], "no free stalk 'z7'"),
        (["--target", "price=300", "--pin", "z1", "--row", "5"], "write it as"),
        (["--target", "price=300", "--sparse"], "--sparse changes a row"),
        (["--data", "gone.csv"], "no such file"),
        ([], "nothing is free"),
    ],
)
def test_what_does_not_fit_is_refused(refused, run, arguments, words):
    refused("infer", run, *arguments, words=words)


def test_a_file_with_a_strange_cell_is_refused_with_its_line(refused, run, folder):
    (folder / "odd.csv").write_text("area,rooms,city,price\n100,3,Rome,250\n,3,Paris,250\n")
    assert "odd.csv:3" in refused(
        "infer", run, "--data", "odd.csv", words="has this category of city: 'Paris'"
    )
    (folder / "few.csv").write_text("area,rooms,price\n100,3,250\n,3,250\n")
    refused("infer", run, "--data", "few.csv", words="columns that the network needs are missing: 'city'")
