"""The page: what it holds of a run directory, what it says is missing, and that names stay text."""

import base64
import gzip
import hashlib
import json
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from sheafcli.errors import InputError
from sheafcli.render.report import Contents, report_page
from sheafcli.render.report.contents import SOURCES
from sheafcli.render.report.sections import sections

LIMIT = 5_000_000
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, and the text of each."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.open: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag):
        assert self.found[self.open.pop()][0] == tag

    def handle_data(self, data):
        for place in self.open:
            self.texts[place] += data

    def all(self, tag):
        return [
            (attrs, text) for (name, attrs), text in zip(self.found, self.texts, strict=True) if name == tag
        ]

    def text(self, tag="body"):
        return self.all(tag)[0][1]


def page_of(run) -> Page:
    return Page(report_page(Contents.read(run)))


def rows_of(page, caption):
    """Return the text of a table's cells, row by row, below its header."""
    (table,) = [text for _, text in page.all("table") if caption in text]
    return table


def test_the_page_has_its_sections_in_order(run):
    headings = [text for _, text in page_of(run).all("h2")]
    assert headings == [
        "Summary",
        "Findings",
        "Network",
        "Training",
        "Predictions",
        "Where the discord sits",
        "Neurons",
        "Samples",
        "Another run",
        "Spectrum",
        "Configuration",
    ]


def test_headings_go_down_one_level_at_a_time(run):
    levels = [int(tag[1]) for tag, _ in page_of(run).found if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_landmarks_and_names_are_there(run):
    page = page_of(run)
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.found}
    assert page.all("html")[0][0]["lang"] == "en"
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for attrs, _ in page.all("section"):
        assert attrs["aria-labelledby"] in ids
    for attrs, _ in page.all("th"):
        assert attrs["scope"] in ("col", "row")
    for attrs, _ in page.all("div"):
        if attrs.get("class") == "plot":
            assert attrs["role"] == "img"
            assert len(attrs["aria-label"]) > 20
    for attrs, _ in page.all("a"):
        assert attrs["href"].removeprefix("#") in ids


def test_tables_hold_the_numbers(run):
    page = page_of(run)
    for row in Contents.read(run).tables["diagnosis"].itertuples():
        assert row.edge in rows_of(page, "By edge")
        assert f"{row.excess:.2f}" in rows_of(page, "By edge")
    assert "70.0%" in rows_of(page, "What each layer alone would explain")


def test_the_summary_leads_to_the_layer_that_the_findings_blame(run):
    # With a blame of 70% alone, the findings name no layer, and neither does the summary.
    assert "no layer stands out" in page_of(run).text("dl")
    findings = pd.read_csv(run / "findings.csv")
    findings.loc[len(findings)] = ["warning", "layer-at-fault", 2, "affine", "", "seen", "look"]
    findings.to_csv(run / "findings.csv", index=False)
    summary = page_of(run).text("dl")
    for words in ("Test loss", "0.1074", "90.0%", "Layer 2", "blame 70.0%", "490 steps"):
        assert words in summary


def test_names_and_files_are_text(run):
    page = page_of(run)
    assert page.text("h1") == "<b>bold</b> & co"
    # Four blocks of data, and the script that draws them: a class called <script> adds none.
    assert len(page.all("script")) == 5
    assert not page.all("img")
    assert not page.all("b")
    assert "<script>alert(1)</script>" in rows_of(page, "By class")
    assert "<img src=x onerror=alert(1)>" in page.text("main")
    assert "# <b>, & and </script>" in page.text("pre")


def test_a_class_called_na_keeps_its_name(run):
    assert "NA" in Contents.read(run).tables["classes"]["class"].tolist()


def test_plotly_is_told_to_take_names_as_text(run):
    figures = json.loads(
        next(text for attrs, text in page_of(run).all("script") if attrs.get("id") == "figures")
    )
    (samples,) = [figure for figure in figures if figure["key"] == "samples"]
    hovers = [text for trace in samples["data"] for text in trace["customdata"]]
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in text for text in hovers)
    assert not any("<script" in text or "<i>" in text for text in hovers)


def test_the_policy_allows_the_two_scripts_and_nothing_else(run):
    page = page_of(run)
    (policy,) = [
        attrs["content"]
        for attrs, _ in page.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    (drawing,) = [text for attrs, text in page.all("script") if "type" not in attrs]
    (packed,) = [text for attrs, text in page.all("script") if attrs.get("id") == "plotly"]
    library = gzip.decompress(base64.b64decode(packed))
    assert library.decode() == get_plotlyjs()
    digests = [
        base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (drawing.encode(), library)
    ]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    assert policy.startswith("default-src 'none';")


def test_nothing_is_linked_from_elsewhere(run):
    page = page_of(run)
    assert not page.all("link")
    for _, attrs in page.found:
        assert "src" not in attrs
        assert attrs.get("href", "#").startswith("#")


def test_the_same_run_gives_the_same_page(run):
    assert report_page(Contents.read(run)) == report_page(Contents.read(run))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("history", "No history: sheaf train CONFIG writes it."),
        ("discord", "No discord over time: sheaf train CONFIG writes it."),
        ("diagnosis", "No pinned discord: sheaf diagnose RUN writes it."),
        ("neurons", "No neurons: sheaf diagnose RUN writes it."),
        ("samples", "No samples: sheaf diagnose RUN writes it."),
        ("findings", "No findings: sheaf diagnose RUN writes it."),
        ("spectrum", "No spectrum: sheaf spectrum RUN writes it."),
    ],
)
def test_what_is_missing_is_said(run, name, words):
    assert words not in page_of(run).text()
    (run / f"{name}.csv").unlink()
    page = page_of(run)
    assert words in page.text()
    command = words.partition(": ")[2].removesuffix(" writes it.")
    assert command in [text for _, text in page.all("code")], "as code, without backticks"


def test_another_run_leads_with_its_sentence_and_is_left_out_where_there_is_none(run):
    text = page_of(run).text()
    assert "Compared with runs/<b>other</b>, rounding of float64: affine_3 alone explains 100%" in text
    assert "scaled" in rows_of(page_of(run), "Operations by their share")
    (run / "diff.json").unlink()
    assert "Another run" in page_of(run).text()
    (run / "diff.csv").unlink()
    assert "Another run" not in page_of(run).text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sentence": 1, "other": "a", "precision": "b"}'])
def test_a_damaged_diff_is_named(run, text):
    (run / "diff.json").write_text(text)
    with pytest.raises(InputError, match=r"diff\.json: the file is damaged .*`sheaf diff` writes it anew"):
        Contents.read(run)


def test_every_table_may_be_missing(run):
    for name in SOURCES:
        (run / f"{name}.csv").unlink()
    page = page_of(run)
    assert not page.all("figure")
    assert not page.all("table")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_table_may_have_no_rows_yet(run, name):
    path = run / f"{name}.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    page_of(run)


def test_no_finding_is_good_news(run):
    path = run / "findings.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "Nothing found" in page_of(run).text()


def test_findings_come_worst_first(run):
    severities = [text for attrs, text in page_of(run).all("span") if attrs.get("class") == "severity"]
    assert severities == ["error", "info"]


def test_without_a_diagnosis_the_path_is_that_of_the_last_step(run):
    (run / "diagnosis.csv").unlink()
    page = page_of(run)
    assert "as they were at step 490" in page.text()
    assert any(attrs.get("id") == "figure-path" for attrs, _ in page.all("div"))


def test_an_imported_network_has_a_source_and_no_history(run):
    manifest = {
        "name": "model",
        "status": "imported",
        "widths": [3, 6, 5, 4],
        "source": {"file": "<model>.onnx", "beside": {"weights.bin": "0a1b"}},
        "notes": ["the classes are <taken> by position", "another"],
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    for name in ("history", "baseline", "discord"):
        (run / f"{name}.csv").unlink()
    text = page_of(run).text()
    assert "trained elsewhere" in text
    assert "file: <model>.onnx\nbeside weights.bin: 0a1b" in text
    assert "the classes are <taken> by position\nanother" in text
    assert "has not ended" not in text


@pytest.mark.parametrize("name", sorted(SOURCES))
@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe\x00", b"a,b\n1\n1,2,3\n", b"step,layer\n0,1\n"],
    ids=["empty", "binary", "ragged", "columns missing"],
)
def test_a_damaged_table_is_named(run, name, damage):
    path = run / f"{name}.csv"
    path.write_bytes(damage)
    with pytest.raises(InputError, match=f"{name}.csv: the table is damaged .*`sheaf .* writes it anew"):
        Contents.read(run)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("history", "train_loss", "low"),
        ("history", "step", "0.5"),
        ("discord", "operation", "softmax"),
        ("neurons", "layer", ""),
        ("samples", "discord", "<b>"),
    ],
)
def test_a_wrong_value_is_named(run, name, column, value):
    table = pd.read_csv(run / f"{name}.csv", dtype=str)
    table.loc[0, column] = value
    (run / f"{name}.csv").write_text(table.to_csv(index=False))
    with pytest.raises(InputError, match=f"{name}.csv: the table is damaged"):
        Contents.read(run)


@pytest.mark.parametrize(
    "change",
    [
        {"widths": "many"},
        {"widths": [1, "2"]},
        {"final": 3},
        {"source": "here"},
        {"versions": [1]},
        {"notes": {"a": 1}},
        {"notes": [1]},
    ],
)
def test_a_damaged_manifest_is_named(run, change):
    (run / "manifest.json").write_text(json.dumps(run.manifest() | change))
    with pytest.raises(InputError, match=r"manifest\.json: the manifest is damaged"):
        Contents.read(run)


def test_numbers_that_overflowed_do_no_harm(run):
    history = pd.read_csv(run / "history.csv")
    history.loc[history.index[-3:], "train_loss"] = [np.inf, np.nan, 1e308]
    (run / "history.csv").write_text(history.to_csv(index=False))
    (run / "manifest.json").write_text(
        json.dumps(run.manifest() | {"status": "diverged", "message": "too large"})
    )
    text = page_of(run).text()
    assert "diverged" in text
    assert "Too large." in text


def test_a_large_run_stays_below_the_limit(run):
    rng = np.random.default_rng(0)
    sizes = [784] * 3
    layers = np.repeat([1, 2, 3], sizes)
    neurons = pd.DataFrame(
        {"layer": np.tile(layers, 2), "neuron": np.tile(np.concatenate([*map(np.arange, sizes)]), 2)}
    )
    neurons["operation"] = np.repeat(["affine", "activation"], sum(sizes))
    neurons["edge"] = neurons["operation"] + "_" + neurons["layer"].astype(str)
    neurons[["discord", "std", "median", "max", "share", "active"]] = rng.random((len(neurons), 6))
    steps = np.arange(20_000)
    history = pd.DataFrame(
        {"step": steps, "train_loss": rng.random(len(steps)), "test_loss": rng.random(len(steps))}
    )
    edges = [("affine", layer) for layer in range(1, 41)] + [("activation", layer) for layer in range(1, 41)]
    discord = pd.DataFrame([(o, n, f"{o}_{n}") for o, n in edges], columns=["operation", "layer", "edge"])
    discord = discord.merge(pd.DataFrame({"step": np.arange(1000)}), how="cross").assign(share=0.0125)
    discord["discord"] = rng.random(len(discord))
    samples = pd.DataFrame(
        {"sample": np.arange(20_000), "worst_edge": "affine_1", "target": "a", "predicted": "b"}
    )
    samples[["discord", "share", "loss"]] = rng.random((len(samples), 3))
    tables = {
        "neurons": neurons,
        "history": history,
        "baseline": history,
        "discord": discord,
        "samples": samples,
    }
    for name, table in tables.items():
        (run / f"{name}.csv").write_text(table.to_csv(index=False))
    assert len(report_page(Contents.read(run)).encode()) < LIMIT


def test_what_is_passed_on_has_the_names_of_files_and_no_folders(run):
    config = "name: strange\ntask: {kind: csv, path: /home/someone/secret folder/table.csv}\n"
    (run / "config.yaml").write_text(config)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {"task": "csv", "notes": ["/home/someone/secret folder/table.csv: read with ;"]}
    manifest["source"] = {"file": "/elsewhere/models/net.onnx"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    page = report_page(Contents.read(run))
    assert "someone" not in page
    assert "/elsewhere" not in page
    assert "table.csv: read with ;" in page
    assert ">table.csv</span>" in page


def test_that_no_layer_is_at_fault_is_drawn_beside_the_layers(run):
    blamed = pd.read_csv(run / "layers.csv")["blame"]
    (figure,) = [f for s in sections(Contents.read(run)) for f in s.figures if f.key == "blame"]
    assert figure.data[0]["y"] == [*(f"layer {i}" for i in range(1, len(blamed) + 1)), "none"]
    assert sum(figure.data[0]["x"]) == pytest.approx(1.0)


@pytest.mark.parametrize(("severity", "label"), [("warning", "Layer at fault"), ("info", "Most to gain")])
def test_the_summary_says_of_a_layer_what_the_findings_say(run, severity, label):
    findings = pd.read_csv(run / "findings.csv", keep_default_na=False)
    findings = findings.iloc[:1].assign(rule="layer-at-fault", severity=severity, layer=2)
    findings.to_csv(run / "findings.csv", index=False)
    tiles = {tile.label: tile.value for tile in sections(Contents.read(run))[0].tiles}
    assert tiles[label] == "Layer 2"
    assert len({"Layer at fault", "Most to gain"} & set(tiles)) == 1


def test_where_training_stalks_are_at_rest_their_discord_is_not_drawn_as_the_error(run):
    (run / "diagnosis.csv").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"method": "equilibrium"}))
    (section,) = [s for s in sections(Contents.read(run)) if s.key == "network"]
    assert section.figures == []
    assert "sheaf diagnose RUN" in section.missing[0]
