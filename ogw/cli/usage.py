"""What `ogw --help` shows: what ogw is, and all commands, by group."""

from collections.abc import Sequence
from itertools import groupby

from ogw.cli.commands import COMMANDS, Command
from ogw.cli.parser import columns, filled
from ogw.language.messages import gettext as _
from ogw.language.wrapping import wrap

COLUMN = 28  # where it begins to say what a command does


def usage(commands: Sequence[Command] = COMMANDS) -> str:
    """All of it; or for `ogw config --help`, of those commands alone."""
    lines = [_("usage: ogw COMMAND [FLAGS]"), ""]
    if commands is COMMANDS:
        about = _(
            "ogw lets machines without internet access reach the hosts that you allow, and no others. It is an HTTP "
            "proxy that speaks only CONNECT; it looks at the TLS handshake that goes by, and decrypts nothing."
        )
        lines += [filled(about), ""]
    for name, group in groupby(commands, lambda command: command.group):
        heading = _(name)
        lines += [_("{heading}:").format(heading=heading), *(one for command in group for one in _lines(command)), ""]
    lines += [_("`ogw COMMAND --help` says more. A first gateway:"), "  ogw run --allowed-host www.example.com", ""]
    return "\n".join(lines)


def _lines(command: Command) -> list[str]:
    typed = f"  ogw {command.words} {command.takes}".rstrip()
    does = wrap(_(command.does), columns() - COLUMN)
    if len(typed) > COLUMN - 2:
        return [typed, *(" " * COLUMN + line for line in does)]
    return [typed.ljust(COLUMN) + does[0], *(" " * COLUMN + line for line in does[1:])]
