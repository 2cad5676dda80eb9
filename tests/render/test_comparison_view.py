"""Runs side by side as they are shown, asked for what is in the tables and in the axes."""

import errno
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from rich.cells import cell_len
from rich.console import Console

from sheafcli.records.comparison import COLUMNS, Comparison
from sheafcli.render.comparison import FORMATS, comparison_figure, comparison_tables
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import save_figure

BAR = re.compile("[█▏▎▍▌▋▊▉]+")


def history(losses, seconds=1.0):
    """Return a history of evenly spaced records: test losses are half as large again."""
    times = np.linspace(0.0, seconds, len(losses)) if len(losses) > 1 else [seconds]
    losses = np.array(losses)
    return pd.DataFrame(
        {"step": np.arange(len(losses)), "seconds": times, "train_loss": losses, "test_loss": 1.5 * losses}
    )


def row(run, losses=(0.5, 0.6), accuracies=(math.nan, math.nan), **changes):
    plain = {"run": run, "directory": f"results/{run}", "task": "circular", "method": "heat"}
    plain |= {"status": "finished", "steps": 1000, "seconds": 1.25}
    plain |= dict(zip(("train_loss", "test_loss"), losses, strict=True))
    plain |= dict(zip(("train_accuracy", "test_accuracy"), accuracies, strict=True))
    plain |= {"discord_affine": 0.1, "discord_activation": 0.2, "discord_output": 0.3, "discord_total": 0.6}
    return plain | changes


def baseline(run, **changes):
    nothing = {name: math.nan for name in COLUMNS if name.startswith("discord_")}
    return row(run, **({"method": "baseline: sgd"} | nothing | changes))


def comparison(*rows, histories=None, tasks=("circular",)):
    histories = histories or tuple(history([1.0, 0.1]) for _ in rows)
    return Comparison(pd.DataFrame(rows, columns=COLUMNS), tuple(histories), tasks)


def printed(found, colours=None, encoding="utf-8"):
    """Return the lines of each of the three tables at 80 columns."""
    tables = []
    for table in comparison_tables(found):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
        console = Console(file=stream, width=80, color_system=colours, force_terminal=colours is not None)
        console.print(table)
        stream.flush()
        tables.append(raw.getvalue().decode(encoding).splitlines())
    return tables


def words(line):
    return re.split(r"  +", line.strip())


class TestTables:
    def test_rows_hold_their_figures(self):
        runs, results, discord = printed(
            comparison(
                row("first", (0.0756123456, 0.5), (0.98765, 1.0), steps=200_000, seconds=1234.5),
                baseline("first", losses=(0.03, 0.4), method="baseline: adam"),
                row("[second]", (0.25, math.nan), method="equilibrium", task="blobs", status="running"),
            )
        )
        assert [words(line) for line in runs[3:]] == [
            ["first", "circular", "heat", "finished", "200,000"],
            ["baseline: adam", "finished", "1,000"],
            ["[second]", "blobs", "equilibrium", "running", "1,000"],
        ]
        assert [words(line) for line in results[-3:]] == [
            ["first", "0.0756123", "0.500000", "98.77%", "100.00%", "1,234.50"],
            ["baseline: adam", "0.0300000*", "0.400000*", "-", "-", "1.25"],
            ["[second]", "0.250000", "-", "-", "-", "1.25"],
        ]
        assert results[-2].startswith("  baseline: adam")
        assert [words(line)[:5] for line in discord[3:]] == [
            ["first", "0.1000", "0.2000", "0.3000", "0.6000"],
            ["[second]", "0.1000", "0.2000", "0.3000", "0.6000"],
        ]

    def test_a_regression_has_no_columns_of_accuracy(self):
        _, results, _ = printed(comparison(row("a"), row("b")))
        assert "accuracy" not in "".join(results)
        _, results, _ = printed(comparison(row("a"), row("b", accuracies=(0.5, 0.5))))
        assert "".join(results).count("accuracy") == 2

    def test_the_best_of_the_finished_is_starred_and_bold(self):
        found = comparison(
            row("a", (0.5, 0.2), (0.9, 0.8)),
            row("b", (0.25, 0.3), (0.9, 0.7)),
            row("c", (0.01, 0.01), (1.0, 1.0), status="diverged"),
        )
        _, results, _ = printed(found)
        starred = [re.findall(r"(\S+)\*", line) for line in results[-3:]]
        assert starred == [["0.200000", "80.00%"], ["0.250000"], []]
        assert "* best of the finished" in results[0]
        _, results, _ = printed(found, colours="truecolor")
        bold = [re.findall(r"\x1b\[1m\s*([^\x1b]*?)\*\s*\x1b", line) for line in results[-3:]]
        assert bold == starred

    @pytest.mark.parametrize(
        "found",
        [
            comparison(row("a", (0.5, 0.2))),
            comparison(row("a", (0.5, 0.2)), row("b", (0.5, 0.2))),
            comparison(row("a", (0.5, 0.2)), row("b", (0.1, 0.1), task="blobs"), tasks=("circular", "blobs")),
            comparison(row("a", (0.5, 0.2)), row("b", (0.1, 0.1), status="interrupted")),
        ],
    )
    def test_where_nothing_is_best_nothing_is_starred(self, found):
        assert "*" not in "".join(printed(found)[1])

    def test_points_stay_in_line_beside_a_star(self):
        _, results, _ = printed(comparison(row("a", (0.5, 0.02)), row("b", (0.25, 0.3))))
        assert len({tuple(found.start() for found in re.finditer(r"\.", line)) for line in results[-2:]}) == 1

    def test_the_status_has_its_colour_and_is_a_word_without(self):
        states = ("finished", "running", "interrupted", "diverged", "failed")
        found = comparison(*(row(state, status=state) for state in states))
        assert [words(line)[3] for line in printed(found)[0][3:]] == list(states)
        styles = [re.findall(r"\x1b\[([\d;]+)m(\w+)", line) for line in printed(found, "truecolor")[0][3:]]
        assert [name for ((_, name),) in styles] == list(states)
        colours = [code for ((code, _),) in styles]
        assert colours == ["32", "36", "33", "1;31", "1;31"]

    def test_bars_are_as_long_as_their_totals_but_for_what_diverged(self):
        _, _, discord = printed(
            comparison(
                row("a", discord_output=0.9, discord_total=1.2),
                row("b"),
                row("c", discord_affine=1e9, discord_total=1e9, status="diverged"),
            )
        )
        first, second, third = (len("".join(BAR.findall(line))) for line in discord[-3:])
        assert first == 2 * second > 0
        assert third == 0

    def test_operations_are_coloured_in_the_head_and_in_the_bar(self):
        _, _, discord = printed(comparison(row("a")), colours="truecolor")
        heads = dict(re.findall(r"\x1b\[(38;2;[\d;]+)m *(\w+)", discord[1]))
        assert list(heads.values()) == ["affine", "activation", "output"]
        bar = re.findall(r"\x1b\[(38;2;[\d;]+)m█", discord[-1])
        assert list(dict.fromkeys(bar)) == list(heads)
        assert [bar.count(code) for code in heads] == [4, 8, 12]

    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_the_widest_tables_fit_80_columns_and_lose_nothing(self, encoding):
        figures = {"losses": (1.23456e-7, 1.5), "accuracies": (0.26, 1.0), "seconds": 123456.78}
        small = {"discord_affine": 1.234e-17, "discord_total": 12345.6}
        names = ["n" * 100, "a/b" * 9]
        rows = [
            row(names[0], task="breast_cancer", status="interrupted", steps=10**9, **figures, **small),
            baseline(names[0], method="baseline: adam", status="interrupted"),
            row(names[1], (0.1, 0.2), (0.5, 0.5), method="equilibrium"),
            row("z", (0.2, 0.1), (0.4, 0.6)),
        ]
        tables = printed(comparison(*rows), encoding=encoding)
        assert max(cell_len(line) for lines in tables for line in lines) <= 80
        for lines in tables:
            assert "…" not in "".join(lines)
            heads = "".join(line.split(" ")[0] for line in lines[3:])
            assert all(name in heads for name in names)
        assert "1,000,000,000" in "".join(tables[0])
        assert all(text in "".join(tables[1]) for text in ("1.23456e-07", "123,456.78"))
        assert "1.234e-17" in "".join(tables[2])


def names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


class TestFigure:
    def test_lines_are_the_losses_over_wall_time(self, tmp_path):
        histories = history([1.0, 0.5, 0.01], 4.0), history([2.0, 0.3], 1.0), history([3.0, 0.2], 2.0)
        found = comparison(row("a"), baseline("a"), row("b"), histories=histories)
        figure = comparison_figure(found)
        losses = figure.axes[0]
        for (train, test), course in zip(
            zip(losses.lines[::2], losses.lines[1::2], strict=True), histories, strict=True
        ):
            for line, name in ((train, "train_loss"), (test, "test_loss")):
                np.testing.assert_array_equal(line.get_xdata(), course["seconds"])
                np.testing.assert_array_equal(line.get_ydata(), course[name])
            assert train.get_color() == test.get_color()
            assert train.get_linewidth() < test.get_linewidth()
            assert train.get_linestyle() == test.get_linestyle()
        own, other, second = losses.lines[1::2]
        assert [line.get_linestyle() for line in (own, other, second)] == ["-", "--", "-"]
        assert own.get_color() == other.get_color() != second.get_color()
        assert losses.get_xlabel() == "seconds"
        assert losses.get_yscale() == "log"
        labels = [text.get_text() for text in losses.get_legend().get_texts()]
        assert labels == ["test", "train", "baseline"]
        saved(figure, tmp_path)

    @pytest.mark.parametrize(
        ("seconds", "scale"), [((2.0, 2.5), "linear"), ((1.0, 9.9), "linear"), ((1.0, 10.0), "log")]
    )
    def test_time_is_logarithmic_where_runs_are_of_different_length(self, seconds, scale, tmp_path):
        histories = [history([1.0, 0.8, 0.7], end) for end in seconds]
        figure = comparison_figure(comparison(row("a"), row("b"), histories=histories))
        axes = figure.axes[0]
        saved(figure, tmp_path)
        assert axes.get_xscale() == scale
        low, high = axes.get_xlim()
        assert high > seconds[1]
        if scale == "linear":
            assert low == 0.0
        else:  # from just before the first record after the start
            assert seconds[0] / 4 < low < seconds[0] / 2

    def test_bars_are_the_discord_by_operation_in_the_order_of_the_rows(self, tmp_path):
        other = {
            "discord_affine": 1.0,
            "discord_activation": 0.0,
            "discord_output": 2.0,
            "discord_total": 3.0,
        }
        figure = comparison_figure(
            comparison(row("a"), baseline("a"), row("b", **other), row("c", status="diverged"))
        )
        axes = figure.axes[1]
        expected = [[0.1, 0.0, 1.0, 0.0], [0.2, 0.0, 0.0, 0.0], [0.3, 0.0, 2.0, 0.0]]
        ends = np.zeros(4)
        for bars, widths, name in zip(
            axes.containers, expected, ("affine", "activation", "output"), strict=True
        ):
            np.testing.assert_allclose([bar.get_width() for bar in bars], widths, rtol=1e-12)
            np.testing.assert_allclose([bar.get_x() for bar in bars], ends, rtol=1e-12)
            assert {to_hex(bar.get_facecolor()) for bar in bars} == {OPERATION_COLOURS[name]}
            ends += widths
        assert [text.get_text() for text in axes.texts] == ["0.6", "3", "0.6"]
        assert [text.xy for text in axes.texts] == [
            (pytest.approx(0.6), 0),
            (pytest.approx(3.0), 2),
            (0.0, 3),
        ]
        assert names(axes) == ["a", "baseline: sgd", "b", "c (diverged)"]
        low, high = axes.get_ylim()
        assert low > high  # the first row on top
        saved(figure, tmp_path)

    def test_each_row_shows_the_line_of_its_run(self, tmp_path):
        figure = comparison_figure(comparison(*(row(f"run {i}") for i in range(12)), baseline("run 11")))
        losses, discord = figure.axes
        styles = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in losses.lines[1::2]]
        assert len(set(styles)) == 13
        assert [(a.get_color(), a.get_marker(), a.get_linestyle()) for a in discord.lines] == styles
        image = saved(figure, tmp_path)
        # The line stands left of the axes, between the name and the bars, at the height of its row.
        dots = image.shape[1] / figure.bbox.width
        for place, line in enumerate(discord.lines):
            x, y = np.round(dots * discord.transData.transform((0.0, place))).astype(int)
            strip = image[len(image) - y, x - 50 : x - 8, :3]
            ink = tuple(int(line.get_color()[i : i + 2], 16) / 255 for i in (1, 3, 5))
            assert np.abs(strip - ink).max(axis=1).min() < 0.02

    def test_eight_runs_have_eight_colours(self):
        losses = comparison_figure(comparison(*(row(f"run {i}") for i in range(8)))).axes[0]
        assert len({line.get_color() for line in losses.lines}) == 8
        assert [text.get_text() for text in losses.get_legend().get_texts()] == ["test", "train"]

    @pytest.mark.parametrize(
        "found",
        [
            comparison(row("a"), histories=[history([0.5], 1e-4)]),
            comparison(row("a"), histories=[history([0.5], 0.0)]),
            comparison(row("a"), row("b"), histories=[history([0.5], 1e-4), history([0.5, 0.4], 9.0)]),
            comparison(row("a"), histories=[history([math.nan, math.inf])]),
            comparison(row("a", **{name: 0.0 for name in COLUMNS if name.startswith("discord_")})),
            comparison(row("a", status="diverged", discord_total=math.inf, discord_output=math.inf)),
            comparison(row("_a_$x^{$"), row("b" * 300), *(row(str(i)) for i in range(40))),
        ],
    )
    def test_extremes_are_drawn_without_a_warning(self, found, tmp_path):
        saved(comparison_figure(found), tmp_path)

    def test_long_names_are_cut_in_the_middle(self):
        axes = comparison_figure(comparison(row("x" * 60 + "_0.1"), row("y" * 36))).axes[1]
        cut, whole = names(axes)
        assert whole == "y" * 36
        assert len(cut) == 36
        assert re.fullmatch(r"x+…x+_0\.1", cut)


class TestSave:
    @pytest.mark.parametrize(
        ("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF-")]
    )
    def test_the_ending_says_what_is_written(self, ending, start, tmp_path):
        path = tmp_path / f"figure{ending}"
        save_figure(comparison_figure(comparison(row("a"))), path)
        assert path.read_bytes().startswith(start)
        assert ending.lower() in FORMATS
        assert list(tmp_path.iterdir()) == [path]

    def test_a_failed_write_keeps_the_old_picture_and_leaves_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "figure.svg"
        path.write_bytes(b"old")
        figure = comparison_figure(comparison(row("a")))

        def full_disk(file, **_):
            file.write(b"half a picture")
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr(figure, "savefig", full_disk)
        with pytest.raises(OSError, match="no space"):
            save_figure(figure, path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
