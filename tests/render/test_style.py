"""Pictures are written without a warning, whatever letters and numbers are in them."""

import pytest

from sheafcli.printable import printable
from sheafcli.render import style
from sheafcli.render.style import add_legend, new_figure, save_figure

NAMES = ["猫", "犬 🐕", "ن", "a\x1b[31mb", "run\udcff", "$x^{$", "größe", "\x00"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", NAMES)
def test_any_text_may_be_in_a_picture(tmp_path, name, ending):
    figure, (axes,) = new_figure(name, n_panels=1, size=(3.0, 2.0))
    (line,) = axes.plot([0, 1], [0, 1], label=name)
    axes.set_xlabel(name)
    axes.set_xticks([0.0, 1.0], [printable(name), "plain"])
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    add_legend(axes, [line], "inside")
    save_figure(figure, tmp_path / f"it.{ending}")
    assert (tmp_path / f"it.{ending}").stat().st_size > 1000


def test_letters_come_from_the_fonts_that_are_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "FALLBACKS", ("No Such Font", "DejaVu Serif", "STIXGeneral"))
    style._families.cache_clear()
    try:
        assert style._families() == ["DejaVu Sans", "DejaVu Serif", "STIXGeneral"]
        figure, (axes,) = new_figure("title", n_panels=1, size=(3.0, 2.0))
        save_figure(figure, tmp_path / "it.png")
        assert axes.xaxis.label.get_fontfamily() == style._families()
    finally:
        style._families.cache_clear()
