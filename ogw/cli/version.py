"""`ogw version`."""

from gettext import gettext as _

from ogw import __version__
from ogw.cli.parser import parser_of


def version(words: list[str]) -> int:
    """The exit code."""
    parser_of("version", _("Print the version."), examples=["ogw version"]).parse_args(words)
    print(f"ogw {__version__}")
    return 0
