"""`sheaf report`: the page of a run, from trained or half a run, and what stops it."""

import json
import re
from pathlib import Path

import pytest

from sheafcli.interop.networks import read_network


def test_the_page_is_written_into_the_run_directory(sheaf, any_run, read):
    before = read(any_run)
    outcome = sheaf("report", any_run)
    assert outcome.code == 0
    assert outcome.err == ""
    path = any_run / "report.html"
    size, unit = re.fullmatch(rf"Written: {path} \((\d+\.\d) (MB)\)\n", outcome.out).groups()
    assert unit == "MB"
    assert float(size) == pytest.approx(path.stat().st_size / 1e6, abs=0.05)
    assert path.stat().st_size < 5_000_000
    # All else in the directory is as it was.
    after = read(any_run)
    assert after.pop("report.html")
    assert after == before


def test_the_page_is_of_this_run(sheaf, run):
    sheaf("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    manifest = json.loads((run / "manifest.json").read_text())
    assert f"<h1>{manifest['name']}</h1>" in page
    assert f"{manifest['final']['test_loss']:.4g}" in page
    widths = " → ".join(map(str, read_network(run / "network.npz").widths))
    assert widths in page


def test_what_diagnose_and_spectrum_write_is_shown(sheaf, run):
    sheaf("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<code>sheaf diagnose RUN</code> writes it" in page
    assert "<code>sheaf spectrum RUN</code> writes it" in page
    sheaf("diagnose", run)
    sheaf("spectrum", run)
    sheaf("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "No pinned discord" not in page
    assert "<code>sheaf spectrum RUN</code> writes it" not in page
    for key in ("path", "resistance", "neurons", "spectrum", "eigenvectors"):
        assert f'id="figure-{key}"' in page


def test_the_page_goes_where_it_is_wanted(sheaf, run, folder):
    outcome = sheaf("report", run, "--output", "page.html")
    assert outcome.out.startswith("Written: page.html (")
    assert (folder / "page.html").exists()
    assert not (run / "report.html").exists()


def test_a_page_that_cannot_be_written_is_an_error_in_words(sheaf, run):
    outcome = sheaf("report", run, "--output", "missing/page.html")
    assert outcome.code == 1
    assert outcome.err == "error: missing/page.html: No such file or directory\n"


def test_a_run_that_has_only_begun_has_a_page(sheaf, run):
    for path in run.iterdir():
        if path.is_file() and path.name not in ("manifest.json", "config.yaml"):
            path.unlink()
    (run / "manifest.json").write_text(json.dumps({"name": "begun", "status": "running"}))
    assert sheaf("report", run).code == 0
    assert "the run has not ended" in (run / "report.html").read_text(encoding="utf-8")


def test_a_damaged_table_is_refused(refused, run):
    (run / "history.csv").write_text("step,train_loss\n0,low\n")
    error = refused("report", run, words="history.csv: the table is damaged")
    assert "`sheaf train` writes it anew" in error


@pytest.mark.parametrize("place", ["nowhere", "small.yaml"])
def test_what_is_no_run_is_refused(refused, place):
    refused("report", Path(place), words="give the directory of a run")
