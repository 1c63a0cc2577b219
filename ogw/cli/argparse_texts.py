"""What argparse says to people by itself (Python 3.11 to 3.13), in their language."""

import argparse

from ogw.language.messages import gettext, ngettext
from ogw.language.messages import gettext_noop as N_

USAGE = N_("usage: ")
TEXTS = (
    N_("positional arguments"),
    N_("options"),
    N_("show this help message and exit"),
    N_("argument %(argument_name)s: %(message)s"),
    N_("the following arguments are required: %s"),
    N_("one of the arguments %s is required"),
    N_("unrecognized arguments: %s"),
    N_("ambiguous option: %(option)s could match %(matches)s"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
    N_("invalid %(type)s value: %(value)r"),
    N_("unknown parser %(parser_name)r (choices: %(choices)s)"),
    N_("expected one argument"),
    N_("expected at most one argument"),
    N_("expected at least one argument"),
    N_("not allowed with argument %s"),
    N_("ignored explicit argument %r"),
)


def counted(number: int) -> str:
    """The one that has a number."""
    return ngettext("expected %s argument", "expected %s arguments", number)


def translate() -> None:
    """From now on, in this process: argparse looks its texts up by names of its own module."""
    argparse._ = gettext  # type: ignore[attr-defined]
    argparse.ngettext = ngettext  # type: ignore[attr-defined]
