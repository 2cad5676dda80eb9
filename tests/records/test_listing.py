"""Lists of runs, against the manifests they are read from, and against searches by brute force."""

import json
import math
import os
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.errors import InputError
from sheafcli.records.listing import CHOICES, COLUMNS, Condition, Order, find_runs, list_runs
from sheafcli.runs import RunDirectory

FINAL = {
    "step": 20,
    "time": 1.5,
    "train_loss": 0.30000000000000004,
    "validation_loss": 0.125,
    "test_loss": 1e-300,
    "energy": 2.0,
    "train_accuracy": 0.75,
    "test_accuracy": 1.0,
    "seconds": 0.1234567,
}
MANIFEST = {
    "name": "other than its folder",
    "status": "finished",
    "message": None,
    "task": "circular",
    "method": "heat",
    "seed": 2**63 - 1,
    "output": "sigmoid",
    "widths": [2, 5, 1],
    "started": "2026-11-23T21:59:58+00:00",
    "ended": "2026-11-24T00:05:00+02:00",
    "versions": {},
    "final": FINAL,
    "baseline": {**FINAL, "train_loss": 0.1, "test_loss": math.inf},
    "metrics": {"final": {"f1": 0.5, "auc": 0.75, "calibration_error": 0.125}},
}


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Write the directory of a run, by its path below results/."""
    monkeypatch.chdir(tmp_path)

    def begin(place, text=None, **changes):
        folder = tmp_path / "results" / place
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(text or json.dumps(MANIFEST | changes))
        (folder / "config.yaml").write_text("name: x\n")
        return RunDirectory(folder)

    return begin


@pytest.fixture
def listed(tmp_path):
    """List what is below results/: the rows as plain values, and the problems."""

    def listed(where=(), sort="name"):
        found = find_runs(tmp_path / "results")
        listing = list_runs(found, [Condition.read(text) for text in where], Order.read(sort))
        assert list(listing.table) == list(COLUMNS)
        return listing.table.to_dict("records"), (*found.problems, *listing.problems)

    return listed


def names(rows):
    return [row["name"] for row in rows]


class TestRows:
    def test_a_row_says_what_the_manifest_says(self, begin, listed):
        run = begin("sweep/001")
        (row,), problems = listed()
        assert problems == ()
        assert all(math.isnan(row.pop(f"test_{name}")) for name in ("r2", "rmse", "mae"))
        assert row == {
            "name": "sweep/001",
            "directory": str(run.path),
            "task": "circular",
            "method": "heat",
            "status": "finished",
            "seed": 2**63 - 1,
            "steps": 20,
            "seconds": 0.1234567,
            "train_loss": 0.30000000000000004,
            "validation_loss": 0.125,
            "test_loss": 1e-300,
            "train_accuracy": 0.75,
            "test_accuracy": 1.0,
            "test_f1": 0.5,
            "test_auc": 0.75,
            "test_calibration_error": 0.125,
            "baseline_train_loss": 0.1,
            "baseline_test_loss": math.inf,
            "started": "2026-11-23T21:59:58+00:00",
            "ended": "2026-11-23T22:05:00+00:00",
            "when": "2026-11-23T22:05:00+00:00",
            "message": None,
        }

    def test_what_is_not_there_yet_is_missing(self, begin, listed):
        begin("a", status="interrupted", ended=None, final=None, baseline=None, message="stopped")
        begin("b", '{"name": "b", "status": "failed"}')  # killed as it began
        (a, b), problems = listed()
        assert problems == ()
        assert (a["when"], a["message"]) == (MANIFEST["started"], "stopped")
        assert all(math.isnan(a[name]) for name in COLUMNS if name.endswith(("loss", "accuracy", "seconds")))
        assert (a["steps"], a["ended"]) == (None, None)
        present = {name for name, value in b.items() if not pd.isna(value)}
        assert present == {"name", "directory", "status"}

    def test_an_imported_network_has_figures_but_no_steps(self, begin, listed):
        figures = {
            name: FINAL[name] for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
        }
        text = {name: MANIFEST[name] for name in ("name", "seed", "ended")} | {
            "status": "imported",
            "method": "imported",
            "task": None,
            "final": figures,
            "baseline": None,
        }
        begin("a", json.dumps(text))
        ((row,), problems) = listed()
        assert problems == ()
        assert (row["test_loss"], row["steps"], row["task"]) == (1e-300, None, None)
        assert row["when"] == "2026-11-23T22:05:00+00:00"

    def test_a_seed_stays_exact_beside_one_that_is_missing(self, begin, listed):
        begin("a")
        begin("b", "[")
        assert [row["seed"] for row in listed()[0]] == [2**63 - 1, None]

    def test_reading_reports_each_run_before_it_is_read(self, begin, tmp_path):
        begin("a")
        begin("b/1", "[")
        seen = []
        list_runs(find_runs(tmp_path / "results"), advance=seen.append)
        assert sorted(seen) == ["a", "b/1"]


class TestStatus:
    def test_a_run_that_is_held_is_running_and_one_that_is_not_was_killed(self, begin, listed):
        held, _ = begin("held", status="running"), begin("killed", status="running")
        with held.locked():
            rows, _ = listed()
            assert [row["status"] for row in rows] == ["running", "interrupted"]
        assert [row["status"] for row in listed()[0]] == ["interrupted"] * 2

    def test_looking_leaves_nothing_locked(self, begin, listed):
        run = begin("killed", status="running")
        listed()
        with run.locked():
            pass

    def test_only_where_a_run_says_that_it_is_running_locks_are_looked_at(self, begin, listed, monkeypatch):
        for status in CHOICES["status"]:
            if status not in ("running", "damaged"):
                begin(status, status=status)
        monkeypatch.setattr("sheafcli.runs.directory.is_locked", lambda path: pytest.fail("looked at"))
        rows, _ = listed()
        assert all(row["status"] == row["name"] for row in rows)

    def test_a_run_that_ends_while_it_is_looked_at_has_ended(self, begin, listed, monkeypatch):
        run = begin("a", status="running", ended=None, final=None)

        def ends_before_the_lock_is_seen(_):
            run.write_manifest(MANIFEST | {"status": "diverged"})
            return False

        monkeypatch.setattr("sheafcli.runs.directory.is_locked", ends_before_the_lock_is_seen)
        ((row,), _) = listed()
        assert (row["status"], row["test_loss"]) == ("diverged", 1e-300)


DAMAGES = {
    "cut short": '{"name": "a", "status": "fini',
    "empty": " ",
    "no object": '["finished"]',
    "no status": '{"name": "a"}',
    "another status": '{"status": "done"}',
    "a status of the list alone": '{"status": "damaged"}',
    "words for figures": json.dumps(MANIFEST | {"final": "0.1"}),
    "a word for a loss": json.dumps(MANIFEST | {"final": {"train_loss": "low"}}),
    "truth for a loss": json.dumps(MANIFEST | {"final": {"train_loss": True}}),
    "a real number of steps": json.dumps(MANIFEST | {"final": {"step": 1.5}}),
    "an immense loss": '{"status": "finished", "final": {"test_loss": 1' + "0" * 400 + "}}",
    "a seed in words": json.dumps(MANIFEST | {"seed": "0"}),
    "a list for a task": json.dumps(MANIFEST | {"task": ["a"]}),
    "no time": json.dumps(MANIFEST | {"ended": "yesterday"}),
    "a time nowhere": json.dumps(MANIFEST | {"ended": "2026-11-23T22:05:00"}),
    "a time before time": json.dumps(MANIFEST | {"started": "0001-01-01T00:00:00+14:00"}),
    "half a character": '{"status": "finished", "message": "\\ud800"}',
    "deep": "[" * 100_000,
}


class TestDamage:
    @pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
    def test_a_damaged_manifest_is_one_row_and_a_problem(self, begin, listed, text):
        run = begin("a", text)
        begin("b")
        (damaged, whole), (problem,) = listed()
        assert (damaged["name"], damaged["status"]) == ("a", "damaged")
        assert problem == f"{run.path / 'manifest.json'}: {damaged['message']}"
        assert pd.isna(damaged["test_loss"])
        assert whole["status"] == "finished"

    def test_a_manifest_that_is_a_directory(self, begin, listed):
        run = begin("a")
        (run / "manifest.json").unlink()
        (run / "manifest.json").mkdir()
        ((row,), (problem,)) = listed()
        assert row["status"] == "damaged"
        assert "Is a directory" in problem

    def test_undecodable_names_are_shown_with_their_bytes(self, begin, listed):
        begin(os.fsdecode(b"a\xff"))
        ((row,), _) = listed()
        assert row["name"] == r"a\xff"
        row["directory"].encode()


class TestSearch:
    def test_folders_are_searched_and_runs_are_not(self, begin, listed, tmp_path):
        for place in ("a", "deep/er/still", "sweep/001", "sweep/002", "a/within", ".hidden"):
            begin(place)
        (tmp_path / "results" / "half").mkdir()
        (tmp_path / "results" / "half" / "config.yaml").touch()
        (tmp_path / "results" / "notes.txt").touch()
        assert sorted(names(listed()[0])) == [".hidden", "a", "deep/er/still", "sweep/001", "sweep/002"]

    def test_a_directory_that_is_a_run_is_listed_itself(self, begin):
        found = find_runs(begin("a").path)
        assert names(list_runs(found).table.to_dict("records")) == ["."]

    def test_links_are_followed_but_not_in_circles_and_nothing_is_listed_twice(self, begin, listed, tmp_path):
        begin("real/1")
        begin("../elsewhere/2")
        results = tmp_path / "results"
        (results / "a_latest").symlink_to(results / "real" / "1")
        (results / "real" / "up").symlink_to(results)
        (results / "real" / "self").symlink_to("self")
        (results / "nowhere").symlink_to("nothing")
        (results / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "back").symlink_to(results / "real")
        rows, problems = listed()
        assert names(rows) == ["linked/2", "real/1"]
        assert problems == ()

    def test_a_folder_that_cannot_be_read_is_a_problem(self, begin, listed, tmp_path, monkeypatch):
        begin("a")
        locked = tmp_path / "results" / "locked"
        locked.mkdir()
        scandir = os.scandir

        def refusing(path):
            if os.fspath(path) == os.fspath(locked):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        rows, problems = listed()
        assert names(rows) == ["a"]
        assert problems == (f"{locked}: not searched (Permission denied)",)
        with pytest.raises(PermissionError):
            find_runs(locked)

    def test_nothing_is_found_in_nothing(self, tmp_path, listed):
        (tmp_path / "results").mkdir()
        assert listed() == ([], ())

    def test_a_directory_that_is_none(self, tmp_path):
        for place, words in (("none", "no such directory"), ("file", "this is a file")):
            (tmp_path / "file").touch()
            with pytest.raises(InputError, match=words):
                find_runs(tmp_path / place)


class TestOrder:
    def test_names_are_in_natural_order_folder_by_folder(self, begin, listed):
        expected = ["a/2", "a/10", "a-b", "run9", "run10", "run10b", "run_1"]
        for name in reversed(expected):
            begin(name)
        assert names(listed()[0]) == expected
        assert names(listed(sort="-name")[0]) == expected[::-1]

    def test_what_is_missing_is_last_either_way(self, begin, listed):
        for name, loss in (("a", 0.5), ("b", math.nan), ("c", math.inf), ("d", 0.25)):
            begin(name, final=FINAL | {"test_loss": loss})
        begin("e", "[")
        begin("f", final=None)
        assert names(listed(sort="test_loss")[0]) == ["d", "a", "c", "b", "e", "f"]
        assert names(listed(sort="-test_loss")[0]) == ["c", "a", "d", "b", "e", "f"]

    def test_ties_are_in_the_order_of_names_either_way(self, begin, listed):
        for name in ("10", "9", "1"):
            begin(name)
        assert names(listed(sort="status")[0]) == names(listed(sort="-status")[0]) == ["1", "9", "10"]

    def test_times_are_sorted_as_they_passed_wherever_they_were_written(self, begin, listed):
        begin("later", ended="2026-11-23T20:00:00-03:00")
        begin("earlier", ended="2026-11-23T22:00:00+00:00")
        begin("still", status="interrupted", ended=None, started="2026-11-23T22:30:00+00:00")
        assert names(listed(sort="when")[0]) == ["earlier", "still", "later"]

    @pytest.mark.parametrize("column", COLUMNS)
    def test_every_column_sorts(self, begin, listed, column):
        for place in range(3):
            begin(str(place), seed=2 - place, message="ab"[place % 2])
        assert len(listed(sort=column)[0]) == len(listed(sort=f"-{column}")[0]) == 3

    @given(st.lists(st.integers(0, 10**6), unique=True))
    def test_numbered_names_are_sorted_by_their_numbers(self, numbers):
        rows = [{"name": f"run{number}x"} for number in numbers]
        assert Order().apply(rows) == [{"name": f"run{number}x"} for number in sorted(numbers)]

    @given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
    def test_any_names_have_an_order_that_their_own_order_does_not_change(self, texts):
        rows = [{"name": text} for text in texts]
        assert len(Order().apply(rows)) == len(rows)
        assert Order().apply(Order().apply(rows)) == Order().apply(rows)


class TestConditions:
    @pytest.fixture
    def four(self, begin):
        begin("a", status="diverged", task="paraboloid", seed=0)
        begin("b", method="equilibrium", final=FINAL | {"step": 1000}, ended="2026-11-22T01:00:00+00:00")
        begin("c", status="running")
        begin("d", "[")

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ([], "abcd"),
            (["status=diverged"], "a"),
            (["status=interrupted"], "c"),
            (["status=running"], ""),
            (["status=damaged"], "d"),
            (["task=circular"], "bc"),
            (["task=circular", "method=heat"], "c"),
            (["task=circular", "task=paraboloid"], ""),
            (["name=b"], "b"),
            (["seed=0"], "a"),
            ([f"seed={2**63 - 1}"], "bc"),
            ([f"seed={2**63 - 2}"], ""),
            (["steps=1e3"], "b"),
            (["test_loss=1e-300"], "abc"),
            (["baseline_test_loss=inf"], "abc"),
            (["when=2026-11-22"], "b"),
            (["ended=2026-11-23T22:05"], "ac"),
        ],
    )
    def test_all_must_hold(self, four, listed, where, expected):
        assert "".join(names(listed(where)[0])) == expected

    def test_damage_is_told_of_even_where_it_is_not_shown(self, four, listed):
        assert len(listed(["status=diverged"])[1]) == 1

    @pytest.mark.parametrize("column", CHOICES)
    def test_every_value_that_can_be_is_taken(self, column):
        for value in CHOICES[column]:
            assert Condition.read(f"{column}={value}").value == value

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("status", "must be COLUMN=VALUE, such as status=diverged"),
            ("statis=failed", "no column statis; there are name, directory, task, .*; did you mean status?"),
            ("=failed", "no column ; there are name"),
            (
                "status=divergd",
                "no status divergd; there are running, finished, stopped, diverged, interrupted, failed, "
                "imported, damaged; did you mean diverged?",
            ),
            ("status=", "no status ; there are"),
            (
                "method=het",
                "there are heat, equilibrium, implicit, backprop, imported, monitored; did you mean heat?",
            ),
            ("task=parabolid", "did you mean paraboloid?"),
            ("seed=one", "seed is a number"),
            ("test_loss=nan", "test_loss is a number"),
            ("when=today", "when is a time, given by its beginning, such as when=2026-11-23"),
        ],
    )
    def test_what_cannot_be_is_refused(self, text, words):
        with pytest.raises(InputError) as caught:
            Condition.read(text)
        assert re.fullmatch(f"--where {re.escape(text)}: .*{words}.*".replace("?", r"\?"), str(caught.value))

    @pytest.mark.parametrize("text", ["tset_loss", "-tset_loss"])
    def test_an_order_that_cannot_be_is_refused(self, text):
        with pytest.raises(InputError, match=r"no column tset_loss; there are .*; did you mean test_loss\?"):
            Order.read(text)
