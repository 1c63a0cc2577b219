"""The running gateway as commands see it: found by its unix socket, asked over HTTP.

Whether it is ready is asked over TCP, too, where it could make no socket or the socket is not for us.

Whatever goes wrong on the way there is one sentence that says what to do.
"""

import argparse
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from gettext import gettext as _
from io import StringIO
from typing import Any, NamedTuple, Optional, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from ogw import __version__
from ogw.cli.exits import NO_GATEWAY, Failed, Wrong
from ogw.report.status import PROTOCOL, PROTOCOL_HEADER, PROTOCOLS, Status
from ogw.settings import named, run_dir
from ogw.settings.ini.parser import IniParser
from ogw.settings.ini.source import VARIABLE, Unreadable, asked_file, read_ini
from ogw.settings.loader import DEFAULT_FILE
from ogw.wire.place import place as place_text

SECONDS = 10.0  # for an answer
Shape = TypeVar("Shape")
Addresses = Callable[[], Iterable[tuple[str, int]]]  # (IP text, port); called where it comes to them
NO_GATEWAY_MEANS = _("no gateway answers; the message says where it was looked for")


class NoGateway(Failed):
    """Nobody answers, and why."""

    code = NO_GATEWAY


class _Answer(NamedTuple):
    """Where it was asked, the HTTP status and the body of its answer, and the number of what it speaks."""

    place: str
    code: int
    body: bytes
    protocol: int


def _nowhere() -> Iterable[tuple[str, int]]:
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


def gateway_of(asked: argparse.Namespace) -> "Gateway":
    """The running gateway that is meant: by --run-dir, OGW_RUN_DIR, or the run-dir of its file. Raises Wrong."""
    return Gateway(asked.run_dir, {**os.environ, VARIABLE: file_of(asked)})


def flags_of(asked: argparse.Namespace) -> str:
    """The flags that named the gateway, for the next command: ready for a shell, with a blank before each."""
    return named.flags(asked.config, asked.run_dir)


def file_of(asked: argparse.Namespace) -> str:
    """The path of the INI file that is meant. Raises Wrong."""
    try:
        return asked_file(asked.config, os.environ, DEFAULT_FILE)
    except Unreadable as unreadable:
        raise Wrong(str(unreadable)) from None


class Gateway:
    """The one that is meant by --run-dir, "" for the first that is found where gateways are.

    Each `ask` looks for it anew, so that a gateway that was restarted is asked, too.
    """

    def __init__(self, folder: str = "", environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._named = folder or environment.get("OGW_RUN_DIR", "") or _run_dir_of_file(environment)

    def ask(
        self,
        path: str,
        shape: type[Shape],
        method: str = "GET",
        seconds: float = SECONDS,
        body: Optional[bytes] = None,
    ) -> Shape:
        """Its answer, once it has all that this shape must have; more may be in it.

        shape  a TypedDict of report/status.py or service/admin/shapes.py

        An answer may also say no: /kill that nothing was killed, /reload what is wrong. Raises NoGateway.
        """
        answer = self._fetch(path, method, seconds, body)
        value = _value(answer)
        if answer.protocol not in PROTOCOLS or not _has(value, shape):
            raise _other_version(value, answer.protocol)
        return cast(Shape, value)

    def status(self, seconds: float = SECONDS) -> Status:
        """How it fares, as the commands of this version understand it. Raises NoGateway."""
        return self.ask("/status", Status, seconds=seconds)

    def policy_and_flags(self, seconds: float = SECONDS) -> tuple[str, str]:
        """The hash of the policy in force, whatever version the gateway is, and the flags by which commands mean it.

        These are "" of a gateway that does not say. Raises NoGateway.
        """
        answer = self._fetch("/status", "GET", seconds)
        value = _value(answer)
        if "policy" not in value:
            raise _other_version(value, answer.protocol)
        return str(value["policy"]), str(value.get("flags", ""))

    def value(
        self, path: str, method: str = "GET", seconds: float = SECONDS, body: Optional[bytes] = None
    ) -> dict[str, Any]:
        """Its answer as it is, whatever is in it. Raises NoGateway."""
        return _value(self._fetch(path, method, seconds, body))

    def text(self, path: str, seconds: float = SECONDS) -> str:
        """An answer that is no JSON, such as that of /metrics. Raises NoGateway."""
        return self._fetch(path, "GET", seconds).body.decode("utf-8", "replace")

    def not_ready(self, also: Addresses, seconds: float = SECONDS) -> str:
        """Why no client should be sent to it, as /readyz says; "" where one may be. Raises NoGateway.

        also  where to ask a gateway that has no socket for us. One whose run-dir was named has one.
        """
        answer = self._fetch("/readyz", "GET", seconds, also=also if not self._named else _nowhere)
        said = ascii(answer.body[:200].decode("utf-8", "replace").strip())[1:-1]
        if answer.code == 503 or (answer.code, said) == (200, "ok"):
            return said if answer.code == 503 else ""
        raise _not_understood(answer, said)

    def _fetch(
        self, path: str, method: str, seconds: float, body: Optional[bytes] = None, also: Addresses = _nowhere
    ) -> _Answer:
        """Raises NoGateway."""
        place, sock = self._connect(seconds, also)
        connection = http.client.HTTPConnection("localhost", timeout=seconds)
        connection.sock = sock
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            number = answer.getheader(PROTOCOL_HEADER, "1")
            return _Answer(place, answer.status, answer.read(), int(number) if number.isdecimal() else 0)
        except TimeoutError:
            told = _("the gateway at {place} did not answer within {seconds:g} s; its log may say why")
            raise NoGateway(told.format(place=place, seconds=seconds)) from None
        except (OSError, http.client.HTTPException) as error:
            told = _("what listens at {place} left without an answer ({error}); is it a gateway that just ended?")
            raise NoGateway(told.format(place=place, error=ascii(str(error))[1:-1] or type(error).__name__)) from None
        finally:
            connection.close()

    def _connect(self, seconds: float, also: Addresses) -> tuple[str, socket.socket]:
        looked: list[str] = []
        for place in self._places():
            try:
                return place, _connected(place, seconds)
            except PermissionError:
                looked.append(
                    _("{place}: not yours to open; try it with sudo, or as the gateway's user").format(place=place)
                )
            except (FileNotFoundError, NotADirectoryError):
                looked.append(_("{place}: is not there").format(place=place))
            except ConnectionRefusedError:
                looked.append(_("{place}: is left from a gateway that ended").format(place=place))
            except TimeoutError:
                looked.append(_("{place}: is not taking connections").format(place=place))
            except OSError as error:
                looked.append(f"{place}: {error.strerror or error}")
        for address in also():
            place = place_text(*address)
            try:
                return place, socket.create_connection(address, seconds)
            except OSError as error:
                looked.append(f"{place}: {error.strerror or error}")
        told = _(
            "no gateway to ask:\n{looked}\n"
            "Is it running? If it has another run-dir, name it: --run-dir FOLDER, or OGW_RUN_DIR"
        )
        raise NoGateway(told.format(looked="\n".join(f"  {line}" for line in looked)))

    def _places(self) -> list[str]:
        folders = [self._named] if self._named else run_dir.default_run_dirs(self._environment)
        return [os.path.join(folder, run_dir.SOCKET) for folder in folders]


def _run_dir_of_file(environment: Mapping[str, str]) -> str:
    """What the INI file says; "" for nothing. A file that is wrong or closed to us is no matter here."""
    parser = IniParser()
    try:
        parser.parse(StringIO(read_ini(environment.get("OGW_CONFIG") or DEFAULT_FILE).decode("utf-8-sig")))
    except (OSError, ValueError):
        return ""
    return parser.values.get("run-dir", [(0, "")])[0][1]


def _connected(place: str, seconds: float) -> socket.socket:
    """Raises OSError."""
    folder = os.path.dirname(place)
    if folder == run_dir.of_user() and run_dir.is_strange(folder):
        raise OSError(0, _("its folder belongs to somebody else"))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(seconds)
    try:
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _has(value: Any, shape: Any) -> bool:
    """Whether all is there that a TypedDict requires, in its parts, too. Types of single values are not looked at."""
    if get_origin(shape) is Union:  # it may be None
        return value is None or _has(value, get_args(shape)[0])
    if get_origin(shape) is list:
        return isinstance(value, list) and all(_has(one, get_args(shape)[0]) for one in value)
    if not is_typeddict(shape):
        return True
    if not isinstance(value, dict) or not shape.__required_keys__ <= value.keys():
        return False
    return all(_has(value[name], part) for name, part in get_type_hints(shape).items() if name in value)


def _other_version(value: dict[str, Any], protocol: int) -> NoGateway:
    theirs = ascii(value.get("version", "?"))[1:-1]
    told = _("the gateway is version {theirs} (protocol {protocol}), this command {ours} (protocol {own}), and they do "
             "not understand each other; ask with the ogw of its version, or upgrade the gateway")  # fmt: skip
    return NoGateway(told.format(theirs=theirs, protocol=protocol, ours=__version__, own=PROTOCOL))


def _value(answer: _Answer) -> dict[str, Any]:
    """The JSON of an answer. Raises NoGateway where there is none."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        said = ascii(answer.body[:200].decode("utf-8", "replace").strip())[1:-1]
    else:
        if isinstance(value, dict) and answer.code in (200, 404, 409):
            return value
        said = ascii(answer.body[:200].decode("utf-8", "replace"))[1:-1]
    raise _not_understood(answer, said)


def _not_understood(answer: _Answer, said: str) -> NoGateway:
    told = _("the gateway at {place} answered {status}, which this command does not understand: {said}")
    return NoGateway(told.format(place=answer.place, status=answer.code, said=said))
