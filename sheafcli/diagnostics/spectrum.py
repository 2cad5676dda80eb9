"""The spectrum as tables: per sample, in summary, and where the two extreme eigenvectors sit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sheafcli.core.spectrum import Spectrum, stability
from sheafcli.core.types import Array, Shape


def spectrum_table(found: Spectrum) -> pd.DataFrame:
    """Return a row a sample: gap, largest, condition, then the energy of both eigenvectors by block."""
    names = [name for name, _ in found.blocks]
    table = pd.DataFrame({"gap": found.gap, "largest": found.largest, "condition": found.condition})
    table.insert(0, "sample", np.arange(len(table)))
    for label, vectors in (("fiedler", found.fiedler), ("top", found.top)):
        energy = found.block_energy(vectors)
        table = table.assign(**{f"{label}_{name}": energy[:, i] for i, name in enumerate(names)})
    return table


def spectrum_summary(found: Spectrum) -> pd.DataFrame:
    """Return gap, largest eigenvalue and condition number over the samples: min, median, max."""
    values = pd.DataFrame({"gap": found.gap, "largest": found.largest, "condition": found.condition})
    return values.agg(["min", "median", "max"]).rename_axis("samples").reset_index()


def bottleneck_table(found: Spectrum, stalks: Mapping[str, Shape]) -> pd.DataFrame:
    """Return a row a block: the mean share of the Fiedler vector and of the top eigenvector there.

    The coordinate that carries most of each, as a mean over samples, stands beside it with its share; it has
    one number an axis of its stalk, whose shapes are `stalks`.
    """
    fiedler, top = (np.mean(vectors**2, axis=0) for vectors in (found.fiedler, found.top))
    rows, first = [], 0
    for name, size in found.blocks:
        part = slice(first, first + size)
        rows.append(
            {
                "stalk": name,
                "fiedler": fiedler[part].sum(),
                "at": _coordinate(name, stalks[name], fiedler[part]),
                "share": fiedler[part].max(),
                "top": top[part].sum(),
                "top_at": _coordinate(name, stalks[name], top[part]),
                "top_share": top[part].max(),
            }
        )
        first += size
    return pd.DataFrame(rows)


def _coordinate(name: str, shape: Shape, shares: Array) -> str:
    place = np.unravel_index(np.argmax(shares), shape)
    return f"{name}[{','.join(map(str, place))}]"


def stability_table(found: Spectrum) -> pd.DataFrame:
    """Return how alike the eigenvectors of different samples are: pairwise |cos|, mean and smallest."""
    rows = []
    for name, vectors in (("slowest", found.fiedler), ("fastest", found.top)):
        cosines = stability(vectors)
        pairs = cosines[np.triu_indices(len(cosines), 1)] if len(cosines) > 1 else np.ones(1)
        rows.append({"eigenvector": name, "mean_cos": pairs.mean(), "min_cos": pairs.min()})
    return pd.DataFrame(rows)
