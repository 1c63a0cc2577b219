"""The running gateway as commands see it: found by its unix socket, asked over HTTP.

Whatever goes wrong on the way there is one sentence that says what to do.
"""

import argparse
import http.client
import json
import os
from typing import Any, NamedTuple, Optional, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict
from urllib.parse import urlencode

from ogw import __version__
from ogw.cli.exits import Wrong
from ogw.cli.live.meant import meant_by
from ogw.cli.live.named_file import require_meant
from ogw.cli.live.sockets import Meant, NoGateway, connect, left_without, not_understood
from ogw.language.messages import gettext as _
from ogw.report.status import CONFIG_HEADER, PROTOCOL, PROTOCOL_HEADER, PROTOCOLS, Status
from ogw.settings import named
from ogw.settings.ini.source import Unreadable, asked_file
from ogw.settings.usual import DEFAULT_FILE

SECONDS = 10.0  # for an answer
Shape = TypeVar("Shape")


class _Answer(NamedTuple):
    """Where it was asked, the HTTP status and the body of its answer, and the number of what it speaks."""

    place: str
    code: int
    body: bytes
    protocol: int


def gateway_of(asked: argparse.Namespace) -> "Gateway":
    """The running gateway that is meant: by --run-dir, OGW_RUN_DIR, or the run-dir of its file. Raises Wrong."""
    return Gateway(meant_by(asked.config, asked.run_dir))


def query_of(**words: object) -> str:
    """A query that says these; words of a command line and of variables may be no UTF-8."""
    return urlencode({name: os.fsencode(word) if isinstance(word, str) else word for name, word in words.items()})


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
    """The one that is meant.

    Each `ask` looks for it anew, so that a gateway that was restarted is asked, too. Where the file that was named
    leaves open which one that is, it raises Wrong, too.
    """

    def __init__(self, meant: Meant) -> None:
        self._meant = meant

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

    def _fetch(self, path: str, method: str, seconds: float, body: Optional[bytes] = None) -> _Answer:
        """Raises NoGateway or Wrong."""
        place, sock = connect(self._meant, os.environ, seconds)
        connection = http.client.HTTPConnection("localhost", timeout=seconds)
        connection.sock, connection.auto_open = sock, 0
        try:
            if self._meant.file and method != "GET":  # before it does what it should not have done
                self._answer_of(place, connection, "GET", "/healthz").read()
            answer = self._answer_of(place, connection, method, path, body)
            number = answer.getheader(PROTOCOL_HEADER, "1")
            return _Answer(place, answer.status, answer.read(), int(number) if number.isdecimal() else 0)
        except TimeoutError:
            told = _("the gateway at {place} did not answer within {seconds:g} s; its log may say why")
            raise NoGateway(told.format(place=place, seconds=seconds)) from None
        except (OSError, http.client.HTTPException) as error:
            raise left_without(place, ascii(str(error) or type(error).__name__)[1:-1]) from None
        finally:
            connection.close()

    def _answer_of(
        self, place: str, connection: http.client.HTTPConnection, method: str, path: str, body: Optional[bytes] = None
    ) -> http.client.HTTPResponse:
        """Its answer, if it is the one that is meant. Raises NoGateway or Wrong, and what http.client does."""
        connection.request(method, path, body)
        answer = connection.getresponse()
        require_meant(self._meant, place, answer.getheader(CONFIG_HEADER))
        return answer


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
    told = _("the gateway is version {gateway} (protocol {gateway_protocol}), this command {command} (protocol "
             "{command_protocol}), and they do not understand each other; use the command of the gateway's version, or "
             "upgrade the gateway")  # fmt: skip
    return NoGateway(
        told.format(
            gateway=ascii(value.get("version", "?"))[1:-1],
            gateway_protocol=protocol,
            command=__version__,
            command_protocol=PROTOCOL,
        )
    )


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
    raise not_understood(answer.place, answer.code, said)
