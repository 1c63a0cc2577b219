"""When an answer was made, as its head says (RFC 9110, section 5.6.7: IMF-fixdate alone)."""

import calendar
import re
from typing import Optional

from ogw.wire.connect import Fields

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    rb"[A-Z][a-z]{2}, ([0-3][0-9]) (" + "|".join(_MONTHS).encode() + rb") (20[0-9]{2}) "
    rb"([0-2][0-9]):([0-5][0-9]):([0-6][0-9]) GMT\Z"
)


def date_of(headers: Fields) -> Optional[float]:
    """Unix seconds; None where it says nothing that can be read."""
    for name, value in headers:
        if name == b"date" and (match := _DATE.match(value)):
            day, month, year, hour, minute, second = (one.decode() for one in match.groups())
            numbers = int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)
            return float(calendar.timegm(numbers))
    return None
