"""Settings that have another name now: the old one is taken for a year, with a warning that names the new one.

To rename one, give it the new name where it is declared, and put the old one in here. It leaves with the first version
after its year; from then on the old name is a mistake, as any other that is unknown.
"""

import datetime
from typing import NamedTuple


class Renamed(NamedTuple):
    """What became of a name.

    version  the first one of ogw that has the new name
    since    when that came out
    """

    new: str
    version: str
    since: datetime.date

    @property
    def until(self) -> datetime.date:
        """The old name is taken at least so long."""
        return self.since + datetime.timedelta(days=366)


RENAMES: dict[str, Renamed] = {}  # by the old name


def name_now(name: str) -> str:
    """The name that a setting has, by any name that it is taken by."""
    return RENAMES[name].new if name in RENAMES else name


def names_before(name: str) -> list[str]:
    """The old names by which a setting is taken, too."""
    return [old for old, renamed in RENAMES.items() if renamed.new == name]
