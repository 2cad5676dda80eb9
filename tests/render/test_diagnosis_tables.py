"""Tables of a diagnosis, read back from what they print: nothing lost, nothing beyond 80 columns."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from sheafcli.diagnostics.findings import Finding
from sheafcli.render.diagnosis_tables import blame_table, class_table, findings_table, samples_table

LONG = "Iris-versicolor-from-the-north-of-the-[bold]valley[/bold]-and-beyond-it"


def printed(table, encoding="utf-8", colours=None):
    """Return the lines of a table at 80 columns."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    Console(file=stream, width=80, color_system=colours, force_terminal=colours is not None).print(table)
    stream.flush()
    return raw.getvalue().decode(encoding).replace("|", " ").splitlines()


def edges_of(samples):
    """Return the names of the edges that a table of samples has, each with its operation."""
    names = [name.removeprefix("discord_") for name in samples if name.startswith("discord_")]
    names = names or sorted(set(samples["worst_edge"]))
    return pd.DataFrame({"edge": names, "operation": [name.partition("_")[0] for name in names]})


def assert_fits(lines):
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    assert "…" not in "".join(lines)


def layers(n, largest=1e7):
    """Return the columns of a fault table for so many layers; the last one is blamed."""
    rng = np.random.default_rng(n)
    evidence = np.append(5.0 * rng.normal(size=n - 1), largest) if n > 1 else np.array([largest])
    return pd.DataFrame(
        {
            "layer": np.arange(1, n + 1),
            "samples": 300,
            "blame": np.append(np.zeros(n - 1), 1.0),
            "kind": ["missing_activation", "noise", "stale_normalisation"][n % 3],
            "kind_blame": 0.75,
            "evidence": evidence,
            "part": ["neuron 12345", "input 54321", "layer"][n % 3],
            "explainable": np.append(np.linspace(0.0, 0.8, n - 1), np.nan),
            "loss": 1.25,
            "fitted_loss": np.linspace(0.9, 1.2, n),
            "repaired_loss": np.linspace(1.2e-7, 1.2, n),
        }
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_every_layer_and_none_has_a_row(n, encoding):
    frame = layers(n)
    lines = printed(blame_table(frame, "train"), encoding)
    assert_fits(lines)
    assert "(on 300 train samples)" in lines[0]
    rows = [re.split(r"  +", line.strip()) for line in lines[3:]]
    assert [row[0] for row in rows] == [*frame["layer"].astype(str), "none"]
    likely = frame["evidence"] >= 1.0
    kinds = frame["kind"].str.replace("_", " ").where(frame["blame"] >= 0.1, "-")
    assert [row[2] for row in rows] == [*kinds, "-"]
    assert [row[4] for row in rows[:-1]] == frame["part"].where(likely, "-").tolist()
    assert [float(row[3].replace(",", "")) for row in rows] == pytest.approx(
        [*frame["evidence"], 0.0], abs=0.051
    )
    losses = [float(row[5]) for row in rows]
    assert losses == pytest.approx([*frame["repaired_loss"], 1.25], rel=1e-3)
    assert rows[-1][4] == "-"


def test_a_kind_that_is_not_likely_is_not_shown():
    frame = layers(2).assign(kind_blame=0.3)
    assert "missing" not in "".join(printed(blame_table(frame.assign(kind="missing_activation"), "train")))


def test_what_no_layer_is_blamed_for_is_nobodys_fault():
    frame = layers(2, 0.0).assign(blame=[0.125, 0.25], kind=None, kind_blame=np.nan)
    rows = [line.split() for line in printed(blame_table(frame, "test"))[3:]]
    assert [row[1] for row in rows] == ["12.5%", "25.0%", "62.5%"]
    bars = [len(re.findall("[█▏▎▍▌▋▊▉]", "".join(row))) for row in rows]
    assert bars == sorted(bars)
    # Rounding above 1 leaves nothing, not less.
    rows = [line.split() for line in printed(blame_table(frame.assign(blame=[0.0, 1.0 + 1e-15]), "test"))[3:]]
    assert rows[-1][1] == "0.0%"


def finding(**changes):
    fields = {
        "severity": "warning",
        "rule": "dead-relu",
        "layer": 2,
        "operation": "activation",
        "neurons": (0, 3),
        "evidence": "2 of 8 neurons are never [bold]active[/bold].",
        "advice": "Train anew with a smaller learning rate.",
    }
    return Finding(**(fields | changes))


def told(lines):
    """Return all words of a table in one line of single spaces."""
    return " ".join(" ".join(lines).split())


def test_a_finding_tells_where_what_and_what_to_do():
    lines = printed(findings_table([finding()]))
    assert_fits(lines)
    text = told(lines)
    assert text.index("warning") < text.index("layer 2 activation")
    for words in ("dead-relu:", "[bold]active[/bold].", "-> Train anew", "0 3"):
        assert words in text


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"layer": None, "operation": None, "neurons": ()}, "run or data"),
        ({"layer": 0, "operation": "input", "neurons": (5,)}, "inputs 5"),
        ({"layer": 3, "operation": "output", "neurons": ()}, "layer 3 output"),
        ({"layer": 12, "operation": None, "neurons": ()}, "layer 12"),
        ({"neurons": tuple(range(12))}, "layer 2 activation 0 1 2 3 4 5 6 7 8 9 10 11"),
        ({"neurons": tuple(range(2000))}, "0 1 2 3 4 5 6 7 8 9 10 11 and 1,988 more"),
    ],
)
def test_a_place_is_told_in_words(changes, place):
    lines = printed(findings_table([finding(evidence="E.", advice="A.", rule="r", **changes)]))
    assert_fits(lines)
    text = told(lines).replace("r: E. ", "").replace("-> A. ", "").replace("r: E.", "").replace("-> A.", "")
    assert place in " ".join(text.split())


def test_findings_without_end_fit_all_the_same():
    long = finding(evidence="x" * 300, advice="word " * 100, rule="a-rule-with-quite-a-long-name")
    lines = printed(findings_table([finding(severity=severity) for severity in ("error", "info")] + [long]))
    assert_fits(lines)
    assert "".join(lines).count("x") >= 300
    assert told(lines).count("word") == 100


def classes(names):
    rng = np.random.default_rng(0)
    discord = rng.exponential(size=len(names)) * 10.0 ** rng.integers(-7, 3, len(names))
    return pd.DataFrame(
        {
            "class": names,
            "samples": np.arange(len(names)) * 1_234_567,
            "discord": discord,
            "std": discord / 3,
            "share": discord / discord.sum(),
            "loss": np.append(np.nan, discord[1:] / 7),
            "accuracy": np.append(np.nan, rng.random(len(names) - 1)),
        }
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_classes_of_any_name_fit_and_lose_nothing(encoding):
    frame = classes(["0", "[red]", LONG, *(f"class {i}" for i in range(20))])
    lines = printed(class_table(frame), encoding)
    assert_fits(lines)
    rows = {line.split()[0]: line.split() for line in lines[3:]}
    # No samples, no accuracy, no loss.
    assert rows["0"][1:4] == ["0", "-", "-"]
    assert rows["[red]"][1] == "1,234,567"
    assert float(rows["[red]"][3]) == pytest.approx(frame["loss"][1], rel=1e-3)
    assert float(rows["[red]"][4]) == pytest.approx(frame["discord"][1], rel=1e-3)
    start = lines.index(next(line for line in lines if line.startswith(LONG[:4])))
    end = lines.index(next(line for line in lines if line.startswith("class 0")))
    assert "".join(line.split("  ")[0].strip() for line in lines[start:end]) == LONG


def samples(n, kind):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"sample": np.arange(n), "discord": rng.exponential(size=n)})
    frame["share"] = frame["discord"] / frame["discord"].sum()
    frame["worst_edge"] = np.resize(["affine_1", "activation_12", "output"], n)
    frame["loss"] = rng.exponential(size=n)
    if kind == "classes":
        frame = frame.assign(target=np.resize(["0", LONG], n), predicted=np.resize([LONG, "1"], n))
    elif kind == "numbers":
        frame = frame.assign(target=rng.normal(size=n) * 1e6, predicted=rng.normal(size=n) * 1e-6)
    return frame


@pytest.mark.parametrize("kind", ["classes", "numbers", "neither"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_worst_samples_come_first(kind, encoding):
    frame = samples(300, kind)
    lines = printed(samples_table(frame, edges_of(frame), 5), encoding)
    assert_fits(lines)
    assert "(5 of 300)" in lines[0]
    worst = frame.nlargest(5, "discord")
    rows = [line.split() for line in lines[3:] if re.match(r" *\d+ +[\d.]+ +[\d.]+ ", line)]
    assert [int(row[0]) for row in rows] == worst["sample"].tolist()
    assert [float(row[1]) for row in rows] == pytest.approx(worst["discord"].tolist(), rel=1e-5)
    assert [float(row[2]) for row in rows] == pytest.approx(worst["loss"].tolist(), rel=1e-3)
    assert all(edge in " ".join(lines) for edge in worst["worst_edge"])
    if kind == "numbers":
        assert [float(row[3]) for row in rows] == pytest.approx(worst["target"].tolist(), rel=1e-3)
        assert [float(row[4]) for row in rows] == pytest.approx(worst["predicted"].tolist(), rel=1e-3)


def test_fewer_samples_than_asked_for_are_all_shown():
    lines = printed(samples_table(samples(2, "classes"), edges_of(samples(2, "classes")), 5))
    assert "(2 of 2)" in lines[0]


def test_samples_without_discord_have_no_bars():
    frame = samples(3, "neither").assign(discord=0.0, share=0.0)
    assert_fits(printed(samples_table(frame, edges_of(frame), 3)))


def test_colours_say_how_grave_and_which_operation():
    graves = [finding(severity=severity) for severity in ("error", "warning", "info")]
    text = "\n".join(printed(findings_table(graves), colours="truecolor"))
    styles = [re.search(rf"\x1b\[([\d;]+)m{severity}", text)[1] for severity in ("error", "warning", "info")]
    assert len(set(styles)) == 3


def test_evidence_of_first_order_is_called_so():
    frame = layers(3)
    assert printed(blame_table(frame, "train"))[0].startswith("Which single layer, if any, is at fault")
    lines = printed(
        blame_table(
            frame.assign(kind=None, kind_blame=np.nan, fitted_loss=np.nan, explainable=np.nan), "train"
        )
    )
    assert lines[0].startswith("What a change of one layer alone explains, to first order")
