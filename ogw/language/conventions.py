"""Numbers and times as the reader writes them. In English: 1,234.5 and 2026-11-27 14:05:00 UTC.

Of the other languages Babel knows it, which is imported when the first one is asked for.
"""

import functools
import re
from datetime import UTC, datetime
from typing import NamedTuple

from ogw.language.known import ENGLISH
from ogw.language.messages import language

_FIELDS = {"y": "{year}", "M": "{month}", "d": "{day}"}  # of a pattern for dates (CLDR), whatever their width


class Conventions(NamedTuple):
    """
    group    between thousands
    decimal  before the part behind a whole number
    date     with {year}, {month} and {day}, the last two of two digits
    """

    group: str
    decimal: str
    date: str


def conventions() -> Conventions:
    return _of(language())


def count(number: float) -> str:
    """A whole number: 1,234."""
    return f"{number:,.0f}".replace(",", conventions().group)


def decimal(number: float, digits: int = 1) -> str:
    """With so many digits behind the point: 1,234.5."""
    whole, _point, rest = f"{number:,.{digits}f}".partition(".")
    return whole.replace(",", conventions().group) + (conventions().decimal + rest if rest else "")


def date(time: datetime) -> str:
    utc = time.astimezone(UTC)
    return conventions().date.format(year=f"{utc.year:04}", month=f"{utc.month:02}", day=f"{utc.day:02}")


def moment(time: datetime) -> str:
    """To the second, in UTC."""
    return f"{date(time)} {time.astimezone(UTC):%H:%M:%S} UTC"


@functools.cache
def _of(name: str) -> Conventions:
    if name == ENGLISH:
        return Conventions(",", ".", "{year}-{month}-{day}")
    from babel import Locale

    locale = Locale.parse(name)
    symbols = locale.number_symbols
    symbols = symbols.get("latn", symbols)  # from Babel 2.14 on, by the digits that are used
    form = re.sub(r"y+|M+|d+", lambda found: _FIELDS[found[0][0]], locale.datetime_skeletons["yMd"].pattern)
    return Conventions(symbols["group"], symbols["decimal"], form)
