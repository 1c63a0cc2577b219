"""Where a running gateway answers: its unix socket, in one of the folders that may be meant; readiness over TCP, too.

It imports little: keepalived, and whatever else checks health by `ogw ready`, comes here every second.
"""

import argparse
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ogw.cli.exits import NO_GATEWAY, Failed, Wrong
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.settings import run_dir
from ogw.settings.usual import DEFAULT_FILE
from ogw.wire.place import place as place_text

Addresses = Callable[[], Iterable[tuple[str, int]]]  # (IP text, port); called where it comes to them
NO_GATEWAY_MEANS = N_("no gateway answers; the message says where it was looked for")


class NoGateway(Failed):
    """Nobody answers, and why."""

    code = NO_GATEWAY


class NotRunning(NoGateway):
    """The same where nobody listens: whatever is changed in files no gateway has to be told."""


class Meant(NamedTuple):
    """What is known of a gateway before it is asked.

    folder   its run-dir; "" for the first of the usual ones that has a socket
    file     the INI file that was named: a gateway that says that it reads another one is not meant; "" where any is
    mistake  why it is not known what that file says, and what to do: only a gateway that says that it reads it is meant
    """

    folder: str
    file: str = ""
    mistake: str = ""


def nowhere() -> Iterable[tuple[str, int]]:
    return ()


def add_gateway(parser: argparse.ArgumentParser) -> None:
    """The flags that name the gateway; `gateway_of` finds it."""
    told = _("the INI file of the gateway, which may name its run-dir (default: OGW_CONFIG, or {file})")
    parser.add_argument("--config", metavar="FILE", help=told.format(file=DEFAULT_FILE))
    add_run_dir(parser)


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """The flag that names its folder."""
    told = _("the run-dir of the gateway (default: OGW_RUN_DIR, run-dir of the INI file, or where a gateway puts it)")
    parser.add_argument("--run-dir", metavar="FOLDER", default="", help=told)


def connect(
    meant: Meant, environment: Mapping[str, str], seconds: float, also: Addresses = nowhere
) -> tuple[str, socket.socket]:
    """A connection to the gateway, and to which place. Raises NoGateway, or NotRunning where nobody listens; and Wrong.

    seconds  for all of these folders, and for all of those addresses
    also     where else to ask
    """
    until = time.monotonic() + seconds
    folders = [meant.folder] if meant.folder else run_dir.default_run_dirs(environment)
    looked: list[str] = []
    found = False  # something that may be one
    for place in (os.path.join(one, run_dir.SOCKET) for one in folders):
        try:
            return place, _connected(place, _left(until))
        except PermissionError:
            found = True
            looked.append(
                _("{place}: you may not open it; try it with sudo, or as the gateway's user").format(place=place)
            )
        except (FileNotFoundError, NotADirectoryError):
            looked.append(_("{place}: there is no such socket").format(place=place))
        except ConnectionRefusedError:
            looked.append(_("{place}: this socket is left over from a gateway that ended").format(place=place))
        except TimeoutError:
            found = True
            looked.append(_("{place}: this socket takes no connections").format(place=place))
        except OSError as error:
            looked.append(f"{place}: {error.strerror or error}")
    addresses = also()  # which may take its time: it reads the settings
    until = time.monotonic() + seconds
    for address in addresses:
        place = place_text(*address)
        try:
            return place, socket.create_connection(address, _left(until))
        except OSError as error:
            looked.append(f"{place}: {error.strerror or error}")
    if meant.mistake:
        raise Wrong(meant.mistake)
    told = _(
        "no gateway to ask:\n{looked}\n"
        "Is it running? If it has another run-dir, name it: --run-dir FOLDER, or OGW_RUN_DIR"
    )
    kind = NoGateway if found else NotRunning
    raise kind(told.format(looked="\n".join(f"  {line}" for line in looked)))


def left_without(place: str, error: str) -> NoGateway:
    """Whoever listens there hung up instead of answering; the error is fit to be shown."""
    told = _("the connection to {place} ended without an answer ({error}); is it a gateway that has just ended?")
    return NoGateway(told.format(place=place, error=error))


def not_understood(place: str, code: int, said: str) -> NoGateway:
    """It answered with this HTTP status, and what it said makes no sense here."""
    told = _("the gateway at {place} answered {status}, which this command does not understand: {said}")
    return NoGateway(told.format(place=place, status=code, said=said))


def _left(until: float) -> float:
    """Seconds; with none it would not be tried at all."""
    return max(0.01, until - time.monotonic())


def _connected(place: str, seconds: float) -> socket.socket:
    """Raises OSError."""
    folder = os.path.dirname(place)
    if folder == run_dir.of_user() and run_dir.is_strange(folder):
        raise OSError(0, _("the folder belongs to another user"))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(seconds)
    try:
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock
