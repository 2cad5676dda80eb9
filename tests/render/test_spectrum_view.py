"""The spectrum as it is shown, asked for what is in its table and in its axes."""

import io

import numpy as np
import pytest
from matplotlib.container import BarContainer
from rich.console import Console

from sheafcli.core.chain.network import Network
from sheafcli.core.spectrum import spectrum
from sheafcli.diagnostics.spectrum import bottleneck_table, spectrum_summary
from sheafcli.render.spectrum import modes_table
from sheafcli.render.spectrum_figure import spectrum_figure
from sheafcli.render.style import save_figure
from sheafcli.render.tables import frame_table


def found(widths=(2, 5, 3, 1), samples=9):
    X = np.random.default_rng(0).normal(size=(samples, widths[0]))
    return spectrum(Network.he(widths, seed=3), X)


def printed(table):
    stream = io.StringIO()
    Console(file=stream, width=80).print(table)
    return stream.getvalue().splitlines()


def test_both_ends_are_sorted_over_the_samples(tmp_path):
    ends = found()
    figure = spectrum_figure(ends, "a $title$")
    largest, gap = figure.axes[0].lines
    np.testing.assert_array_equal(largest.get_ydata(), np.sort(ends.largest))
    np.testing.assert_array_equal(gap.get_ydata(), np.sort(ends.gap))
    np.testing.assert_array_equal(gap.get_xdata(), np.arange(1, 10))
    assert figure.axes[0].get_yscale() == "log"
    save_figure(figure, tmp_path / "spectrum.png")


def test_bars_are_mean_shares_and_whiskers_their_range(tmp_path):
    ends = found()
    figure = spectrum_figure(ends, "t")
    places = figure.axes[1]
    slowest, fastest = (bars for bars in places.containers if isinstance(bars, BarContainer))
    for bars, vectors in ((slowest, ends.fiedler), (fastest, ends.top)):
        z1, a1, z2, a2, z3 = np.split(vectors**2, [5, 10, 13, 16], axis=1)
        shares = np.stack([part.sum(axis=1) for part in (z1, a1, z2, a2, z3)], axis=1)
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, shares.mean(axis=0), rtol=1e-12)
        whiskers = [segment[:, 1] for segment in bars.errorbar.lines[2][0].get_segments()]
        np.testing.assert_allclose(
            whiskers, np.stack([shares.min(axis=0), shares.max(axis=0)], axis=1), atol=1e-12
        )
    assert [text.get_text() for text in places.get_xticklabels()] == ["z1", "a1", "z2", "a2", "z3"]
    save_figure(figure, tmp_path / "spectrum.png")


@pytest.mark.parametrize(("widths", "samples"), [((2, 1), 1), ((2, 4, 1), 1), ((2, *[3] * 30, 1), 3)])
def test_one_sample_a_linear_model_and_many_layers(widths, samples, tmp_path):
    figure = spectrum_figure(found(widths, samples), "t")
    save_figure(figure, tmp_path / "spectrum.png")
    assert 1 <= len(figure.axes[1].get_xticklabels()) <= 16


def test_the_modes_are_told_stalk_by_stalk():
    ends = found()
    frame = bottleneck_table(ends, {name: (size,) for name, size in ends.blocks})
    lines = printed(modes_table(frame))
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    for line, row in zip(lines[4:], frame.itertuples(), strict=True):
        words = [word for word in line.split() if word.strip("█▏▎▍▌▋▊▉")]
        assert words[0] == row.stalk
        assert words[2] == row.at
        assert words[5] == row.top_at
        shares = (row.fiedler, row.share, row.top, row.top_share)
        for word, share in zip([words[i] for i in (1, 3, 4, 6)], shares, strict=True):
            assert float(word.strip("<%")) == pytest.approx(100 * share, abs=0.051 if word[0] != "<" else 0.1)


def test_a_frame_under_a_title_longer_than_itself():
    title = "How the gap, the largest eigenvalue and the condition spread"
    lines = printed(frame_table(spectrum_summary(found())[["samples", "gap"]], title))
    assert lines[0] == title
    assert [line.split()[0] for line in lines[3:]] == ["min", "median", "max"]
