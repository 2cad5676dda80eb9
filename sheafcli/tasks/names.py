"""What of the names of classes or categories may be none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sheafcli.tasks.cells import look_of, may_be_missing, shown


def doubts_of_names(
    column: str, one: str, many: str, rows: Mapping[str, int], looking: str | None, remedy: str
) -> Iterator[str]:
    """Yield a sentence for each doubt about the names in a column, each of which stands in so many rows.

    `column` says which column, `one` and `many` what the names are of, `looking` is a name that looks like
    something else if most do, `remedy` what to do with a name that says that a value is missing.
    """
    look = None if looking is None else look_of(looking)
    if looking is not None and look is not None:
        yield (
            f"{column} holds texts such as {shown(looking)}, which looks like {look.what}: read as "
            f"{len(rows)} {many}; write plain numbers if they are a quantity"
        )
    for name in filter(may_be_missing, rows):
        yield (
            f"{column} has the {one} {shown(name)} in {rows[name]:,} rows; if that says that a value is "
            f"missing, {remedy}"
        )
    alike: dict[str, list[str]] = {}
    for name in rows:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield (
                f"{column} has {many} that differ in capitals or blanks alone: "
                f"{', '.join(map(shown, names))}; write them alike if they are one"
            )
