"""A setting as such: its names, its kind, and what else is true of it wherever it is given or changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.settings.renames import names_before
from ogw.wire.relay_proxy import HIDDEN
from ogw.wire.url import shown_url

PREFIX = "OGW_"  # of environment variables
DEFAULT = "default"  # the source of a value that nobody gave


class Given(NamedTuple):
    """A value as somebody wrote it, and where: "--flag", "OGW_NAME", "/etc/ogw/ogw.ini:12" or "default"."""

    source: str
    text: str


def flag_of(name: str) -> str:
    return f"--{name}"


def variable_of(name: str) -> str:
    return PREFIX + name.upper().replace("-", "_")


def by_comma(text: str) -> list[str]:
    """The values of most lists: one per line, or separated by commas."""
    return by_line(text.replace(",", "\n"))


def by_line(text: str) -> list[str]:
    """The values of a list that may have commas in them."""
    return [part.strip() for part in text.split("\n") if part.strip()]


@dataclass(frozen=True)
class Setting:
    """What is the same for a setting wherever it is given.

    read      one text to one value, raising ValueError; rules are read by parse_rules instead
    purpose   what it is for, as it is marked for translators
    group     the heading that it stands under, with its neighbours; marked, too
    listed    it takes many values, and they add up
    denied    for lists of rules: these allow nothing (parse_rules)
    split     for lists: a text to its values
    secret    its value is never shown
    shown     how a value may be shown, where a part of it is secret
    placed    a value with where it stands, for those that know it
    better    for what may hold a password: the setting that keeps it in a better place than a command line
    most      for lists: how many values, where each costs open files or time; 0 for any number
    empty     what an empty value means where that is neither the default nor a mistake (`takes_empty`)
    beside    a file that stands beside the INI file, where that names it by a relative path, wherever somebody is
    allows    its values, or what they name, allow hosts
    restart   a change needs a restart of the gateway
    installer what the original's installer calls it, as in PROXY=http://proxy.example.com:3128
    """

    name: str
    default: str
    read: Optional[Callable[[str], Any]]
    placeholder: str
    purpose: str
    group: str
    listed: bool = False
    denied: bool = False
    split: Callable[[str], list[str]] = by_comma
    secret: bool = False
    shown: Callable[[str], str] = str
    placed: Optional[Callable[[Any, str], Any]] = None
    better: str = ""
    most: int = 0
    empty: str = ""
    beside: bool = False
    allows: bool = False
    restart: bool = False
    installer: str = ""

    @property
    def help(self) -> str:
        """What it is for, in the reader's language."""
        return _(self.purpose)

    @property
    def by_line(self) -> bool:
        """A list whose values may have commas in them: one stands in a line."""
        return self.listed and self.split is by_line

    @property
    def takes_empty(self) -> bool:
        """An empty value is the default where that is nothing; else it is a mistake, unless it has its own meaning.

        Who writes OGW_LISTEN_ADDRESS=${PLACE:-} had a place in mind: the default could be more open than that.
        """
        return not self.default or bool(self.empty)

    @property
    def hides(self) -> bool:
        """Of some value a part is not shown."""
        return self.secret or self.shown is not str

    @property
    def flag(self) -> str:
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        return variable_of(self.name)

    @property
    def flags(self) -> list[str]:
        """All that it is taken by: its own, and those of its old names."""
        return [flag_of(name) for name in (self.name, *names_before(self.name))]

    @property
    def variables(self) -> list[str]:
        """The same in the environment."""
        return [variable_of(name) for name in (self.name, *names_before(self.name))]

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")


def shown_as(setting: Setting, text: str) -> str:
    """A value as it may be shown."""
    if setting.secret:
        return HIDDEN if text else ""
    return ", ".join(setting.shown(one) for one in setting.split(text)) if setting.shown is not str else text


def quoted(setting: Setting, text: str) -> str:
    """One that is wrong, as a message may quote it: it may be a URL that belongs elsewhere."""
    shown = shown_as(setting, text)
    return shown_url(shown) if "://" in shown and not setting.hides else shown


def with_commas(mistake: str, setting: Setting, text: str) -> str:
    """The mistake of a value; where several may be meant with commas between them, also how they are written."""
    return one_a_line(mistake) if setting.by_line and "," in text else mistake


def one_a_line(mistake: str) -> str:
    """A mistake of a value with a comma in it, where a comma separates nothing."""
    return _("{mistake}; a comma separates no values here: where several are meant, each stands in a line (or a flag) "
             "of its own").format(mistake=mistake)  # fmt: skip
