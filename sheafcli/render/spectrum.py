"""The spectrum of the sheaf Laplacian: where its extreme modes sit, as a table."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import percent
from sheafcli.render.palette import CLASS_COLOURS
from sheafcli.render.share_bar import ShareBar

SLOWEST, FASTEST = CLASS_COLOURS[:2]
# Names of more letters stand upright.
LONGEST_FLAT, WIDEST_NAME = 3, 16


def modes_table(frame: pd.DataFrame) -> Table:
    """Return the stalks where the slowest and the fastest mode sit, each share as a bar.

    `frame` has a row a stalk, with the columns stalk, fiedler, at, share, top, top_at and top_share; at
    is the coordinate that carries most of the stalk's share.
    """
    table = house_table("Where the slowest (Fiedler) and the fastest mode sit")
    # Names that other tools gave may be long; those of a chain are not.
    short = int(frame["stalk"].str.len().max()) <= LONGEST_FLAT
    widest = min(WIDEST_NAME, int(frame["stalk"].str.len().max()))
    table.add_column("\nstalk", overflow="fold", no_wrap=short, min_width=widest)
    cells: list[Iterable[RenderableType]] = [frame["stalk"]]
    for mode, colour, shares, at, most in (
        ("slowest", SLOWEST, "fiedler", "at", "share"),
        ("fastest", FASTEST, "top", "top_at", "top_share"),
    ):
        table.add_column(f"{mode}\nmode", justify="right", no_wrap=True)
        table.add_column("")
        table.add_column("\nmost at", no_wrap=True)
        table.add_column("", justify="right", no_wrap=True)
        longest, places = float(frame[shares].max()), (frame["stalk"], frame[at])
        cells += [
            [percent(share) for share in frame[shares]],
            [ShareBar(((float(share), colour),), longest) for share in frame[shares]],
            [Text(place if short else place[len(stalk) :]) for stalk, place in zip(*places, strict=True)],
            [percent(share) for share in frame[most]],
        ]
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table
