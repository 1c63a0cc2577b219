"""Single words of a command line: what they must be, and what the shell may complete.

Apart from the parser, which commands need that know nothing of rules and settings, and are to start quickly.
"""

import argparse
from collections.abc import Iterable

from ogw.language.messages import gettext as _
from ogw.policy.index import parse_client
from ogw.policy.names import name_of_word
from ogw.settings.setting import Setting


def client_address(text: str) -> str:
    """A word of the command line as a client's socket would say its address."""
    try:
        return str(parse_client(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(_("{text} is no IP address").format(text=ascii(text))) from None


def name_of_client(text: str) -> str:
    """A word of the command line as a name of a client's certificate: cn:till-17."""
    try:
        return name_of_word(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!a}: {error}") from None


def offer(argument: argparse.Action, words: Iterable[str] | Setting) -> None:
    """Let the shell complete these words where the argument is typed, which takes others, too.

    Of a setting: the values that the INI file has by then.
    """
    argument.offered = words  # type: ignore[attr-defined]
