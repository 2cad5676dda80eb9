"""Tables of pandas as cells of text, so that they are read as files are; .parquet files likewise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sheafcli.errors import InputError
from sheafcli.tasks.csv_file import BLOCK
from sheafcli.tasks.new_rows import NewRows, find
from sheafcli.tasks.preprocessing import Preprocessing


def times_of(frame: pd.DataFrame) -> frozenset[str]:
    """Return the names of the columns that hold dates or times."""
    return frozenset(
        str(name)
        for name, kind in zip(frame.columns, frame.dtypes, strict=True)
        if pd.api.types.is_datetime64_any_dtype(kind)
    )


def text_cells(column: pd.Series) -> list[str]:
    """Return the cells of a column as a CSV file would have them, numbers to the bit; "" where missing."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        values = [value.isoformat() for value in column]
    elif pd.api.types.is_float_dtype(column.dtype):
        values = [repr(float(value)) if not gone else "" for value, gone in zip(column, missing, strict=True)]
    else:
        values = [str(value).strip() for value in column]
    return ["" if gone else value for value, gone in zip(values, missing, strict=True)]


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a .parquet file by pandas; InputError where pyarrow is not installed or the file is damaged."""
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise InputError(
            "a .parquet file is read by pyarrow; run: pip install 'sheafcli[parquet]'", path=path
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"no .parquet file that can be read ({error})", path=path) from error


def frame_rows(
    frame: pd.DataFrame, path: Path, preprocessing: Preprocessing, notes: list[str]
) -> Iterator[NewRows]:
    """Return the rows of a DataFrame in blocks, by the names of its columns, numbered from 0.

    What is to be said of the columns joins `notes` before the first block.
    """
    found = find([str(name) for name in frame.columns], preprocessing, path, None, notes)

    def blocks() -> Iterator[NewRows]:
        for start in range(0, len(frame), BLOCK):
            block = frame.iloc[start : start + BLOCK]
            cells: dict[str, Sequence[str]] = {
                name: text_cells(block.iloc[:, found.positions[name]])
                for name in (*preprocessing.names, *found.targets)
            }
            places = range(start, start + len(block))
            yield NewRows(places, cells, [cells[name] for name in found.targets] or None)

    return blocks()
