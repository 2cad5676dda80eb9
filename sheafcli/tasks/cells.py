"""What one cell of a table says: a number, nothing, or a quantity that is not written as a plain number."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date

MISSING = frozenset({"", "?", "-", "--", ".", "n/a", "#n/a", "#na", "nan", "-nan", "<na>", "nat", "n.a."})
"""What stands where there is no value, in small letters: nobody calls a class so."""

MISSING_WORDS = frozenset({"na", "none", "null", "nil", "missing", "unknown", "undefined"})
"""Words, in small letters, that stand where there is no value, or are the name of a class."""

BLANK_WORDS = frozenset({"na", "null", "nil"})
"""Those of them that are hardly ever the name of a category."""


@dataclass(frozen=True)
class Look:
    """What a text looks like that is a quantity, and how to write it as a number.

    It may be the name of a class all the same where it is not `certain`.
    """

    what: str
    write: str
    certain: bool = True


def is_number(cell: str) -> bool:
    """Tell whether a cell is a plain number; nan and inf are, 1_000 and full-width digits are not."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.isascii()


def is_missing(cell: str) -> bool:
    """Tell whether a cell says that there is no value, and cannot be anything else."""
    return cell.lower() in MISSING


def may_be_missing(cell: str) -> bool:
    """Tell whether a cell says that there is no value, if it is not the name of a class."""
    return is_missing(cell) or cell.lower() in MISSING_WORDS


def means_nothing(cell: str) -> bool:
    """Tell whether a cell among names of categories says that there is no value.

    NA, null and nil do; none, missing, unknown and undefined may well be categories.
    """
    return is_missing(cell) or cell.lower() in BLANK_WORDS


def with_point(cell: str) -> str:
    """Return a cell written with a decimal comma as a plain number, any other cell as it is."""
    if cell.count(",") == 1 and "." not in cell:
        plain = cell.replace(",", ".")
        return plain if is_number(plain) else cell
    return cell


def look_of(cell: str) -> Look | None:
    """Return what quantity a text looks like that is not a plain number; None if it looks like none."""
    for read in (_typed, _separated, _money, _percentage, _day, _clock, _with_unit):
        if (look := read(cell)) is not None:
            return look
    return None


def shown(cell: str) -> str:
    """Quote a cell for an error message, cut to a readable length."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


_SPACES = "\u0020\u00a0\u2009\u202f"  # blank, no-break, thin, narrow no-break
_MINUSES = "\u2212\u2013\u2012\ufe63\uff0d"
_GROUPS = re.compile(rf"[+-]?[0-9]{{1,3}}(?:([,.'’{_SPACES}])[0-9]{{3}})(?:\1[0-9]{{3}})*(?:[.,][0-9]+)?")
_INDIAN = re.compile(r"[+-]?[0-9]{1,2}(?:,[0-9]{2})*,[0-9]{3}(?:\.[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_POINTED = re.compile(r"[+-]?[0-9]*\.?[0-9]+")
_CURRENCY = re.compile(
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RON|RUB|SEK|SGD|"
    "THB|TRY|TWD|USD|ZAR"
)
_UNIT = re.compile(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*[A-Za-zµμ°²³/\"′″]{1,6}")
_TIME = re.compile(r"[0-9]{1,3}:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?")
_TIME_AFTER = rf"(?:[T\s]+{_TIME.pattern}\s*(?:Z|UTC|GMT|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
_YEAR_FIRST = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME_AFTER}")
_YEAR_MONTH = re.compile(r"[12][0-9]{3}[-/](?:0[1-9]|1[0-2])")
_YEAR_LAST = re.compile(rf"([0-9]{{1,2}})([-/.])([0-9]{{1,2}})\2([0-9]{{4}}|[0-9]{{2}}){_TIME_AFTER}")
_MONTH = (
    "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|january|february|march|april|june|july|august|"
    "september|sept|october|november|december)"
)
_WORDED = re.compile(
    rf"(?:[0-9]{{1,2}}(?:st|nd|rd|th)?[-\s.]+{_MONTH}\.?[-\s,]+[0-9]{{2,4}}|"
    rf"{_MONTH}\.?\s+[0-9]{{1,2}}(?:st|nd|rd|th)?,?\s+[0-9]{{4}}|{_MONTH}\.?[-\s]+[0-9]{{4}}){_TIME_AFTER}",
    re.IGNORECASE,
)


def _typed(cell: str) -> Look | None:
    """Numbers that only their characters keep from being plain ones: 1_000, (12.50), a typographic minus."""
    plain = unicodedata.normalize("NFKC", cell).translate(dict.fromkeys(map(ord, _MINUSES), "-"))
    if plain != cell and is_number(plain):
        return Look("a number in other characters than 0 to 9, minus and point", plain)
    if is_number(bare := cell.replace("_", "")) and bare != cell:
        return Look("a number with underscores", bare)
    if cell.startswith("(") and cell.endswith(")"):
        money = _money(cell[1:-1])
        inside = money.write if money else _amount(cell[1:-1])
        if inside is not None:
            return Look("an amount in parentheses, which stand for minus", f"-{inside}")
    return None


def _separated(cell: str) -> Look | None:
    """Numbers with a decimal comma, or with marks between the thousands."""
    if _COMMA.fullmatch(cell):
        plain = cell.replace(",", ".")
        if not _GROUPS.fullmatch(cell) or cell.lstrip("+-").startswith("0"):
            return Look("a number with a decimal comma", f"{plain}, or set task.decimal: comma")
        both = (
            f"{plain} if that is a decimal comma (or set task.decimal: comma), {cell.replace(',', '')} if not"
        )
        return Look("a number with a comma", both)
    whole = _ungrouped(cell)
    if whole is not None:
        return Look("a number with marks between the thousands", whole)
    return None


def _ungrouped(cell: str) -> str | None:
    """Return a number with marks between its thousands as a plain one, None if it is none."""
    match = _GROUPS.fullmatch(cell)
    if match is None:
        return re.sub(",", "", cell) if _INDIAN.fullmatch(cell) else None
    whole = cell.replace(match[1], "")
    return whole.replace(",", ".")


def _amount(text: str) -> str | None:
    """Return a number, perhaps with marks between its thousands or a decimal comma, as a plain one."""
    text = text.strip()
    if _POINTED.fullmatch(text):
        return text
    grouped = _ungrouped(text)
    if grouped is not None:
        return grouped
    return text.replace(",", ".") if _COMMA.fullmatch(text) else None


def _money(cell: str) -> Look | None:
    """Amounts with a sign or a code of a currency before or behind."""
    signs = [c for c in cell if unicodedata.category(c) == "Sc"]
    codes = _CURRENCY.findall(cell)
    if len(signs) + len(codes) == 0:
        return None
    bare = cell
    for mark in (*signs, *codes):
        bare = bare.replace(mark, "", 1)
    bare = bare.removesuffix(".-").removesuffix(",-").replace("US", "", 1) if signs else bare
    amount = _amount(re.sub(r"^([+-])\s+", r"\1", bare.strip()))
    return None if amount is None else Look("an amount of money", f"{amount}, all in one currency")


def _percentage(cell: str) -> Look | None:
    if cell[-1:] not in ("%", "‰"):
        return None
    amount = _amount(cell[:-1])
    what = "a percentage" if cell[-1] == "%" else "a number per thousand"
    return None if amount is None else Look(what, f"{amount}, or as a share")


def _day(cell: str) -> Look | None:
    """Dates, with or without a time of day."""
    look = Look("a date", "a number, such as the days since the first of them")
    if _WORDED.fullmatch(cell) or _YEAR_MONTH.fullmatch(cell):
        return look
    if match := _YEAR_FIRST.fullmatch(cell):
        parts = [(int(match[1]), int(match[3]), int(match[4]))]
    elif match := _YEAR_LAST.fullmatch(cell):
        one, other, year = int(match[1]), int(match[3]), int(match[4])
        if year < 100 and match[2] == ".":  # 1.2.34 may as well be a version
            return None
        year += 2000 if year < 100 else 0
        parts = [(year, one, other), (year, other, one)]
    else:
        return None
    return look if any(_is_day(*part) for part in parts) else None


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _clock(cell: str) -> Look | None:
    if _TIME.fullmatch(cell):
        return Look("a time", "a number, such as hours or seconds")
    return None


def _with_unit(cell: str) -> Look | None:
    if match := _UNIT.fullmatch(cell):
        return Look("a number with a unit or a slip behind it", match[1], certain=False)
    return None
