"""The running gateway as commands see it: found by its unix socket, asked over HTTP.

Whatever goes wrong on the way there is one sentence that says what to do.
"""

import argparse
import http.client
import json
import os
import socket
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from gettext import gettext as _
from io import StringIO
from typing import Any, Optional

from ogw import __version__
from ogw.cli.exits import NO_GATEWAY, Failed
from ogw.settings import run_dir
from ogw.settings.ini.parser import IniParser
from ogw.settings.ini.source import read_ini
from ogw.settings.loader import DEFAULT_FILE

SECONDS = 10.0  # for an answer
# What a status must have; more may come.
STATE = {
    *("version", "state", "started", "uptime", "policy", "listen", "admin", "workers", "worker_deaths"),
    *("max_tunnels", "max_descriptors", "counters", "reasons", "top_clients", "top_hosts", "relay_proxies"),
    *("refusals", "workers_missing"),
}
COUNTED = {
    *("tunnels", "clients", "errors", "tls_rejections", "allowed", "refused", "bytes_up", "bytes_down", "log_lines"),
    *("log_lines_lost", "reloads", "reloads_refused"),
}
NO_GATEWAY_MEANS = _("no gateway answers; the message says where it was looked for")


class NoGateway(Failed):
    """Nobody answers, and why."""

    code = NO_GATEWAY


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """The flag that names the gateway."""
    told = _("the run-dir of the gateway (default: OGW_RUN_DIR, run-dir of the INI file, or where a gateway puts it)")
    parser.add_argument("--run-dir", metavar="FOLDER", default="", help=told)


class Gateway:
    """The one that is meant by --run-dir, "" for the first that is found where gateways are.

    Each `ask` looks for it anew, so that a gateway that was restarted is asked, too.
    """

    def __init__(self, named: str = "", environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._named = named or environment.get("OGW_RUN_DIR", "") or _run_dir_of_file(environment)

    def ask(
        self,
        path: str,
        method: str = "GET",
        seconds: float = SECONDS,
        needs: AbstractSet[str] = frozenset(),
        body: Optional[bytes] = None,
    ) -> dict[str, Any]:
        """The value of its answer, as service/admin/views.py makes it; `needs` are the names that must be in it.

        An answer may also say no: /kill that nothing was killed, /reload what is wrong. Raises NoGateway.
        """
        place, status, said = self._fetch(path, method, seconds, body)
        value = _value(place, status, said)
        if needs - value.keys():
            raise _other_version(value)
        return value

    def state(self, seconds: float = SECONDS) -> dict[str, Any]:
        """What it answers to GET /status, as the commands of this version understand it. Raises NoGateway."""
        state = self.ask("/status", seconds=seconds, needs=STATE)
        if not isinstance(state["counters"], dict) or COUNTED - state["counters"].keys():
            raise _other_version(state)
        return state

    def text(self, path: str, seconds: float = SECONDS) -> str:
        """An answer that is no JSON, such as that of /metrics. Raises NoGateway."""
        return self._fetch(path, "GET", seconds)[2].decode("utf-8", "replace")

    def _fetch(self, path: str, method: str, seconds: float, body: Optional[bytes] = None) -> tuple[str, int, bytes]:
        """Where it was asked, the status and the body of its answer. Raises NoGateway."""
        sock = self._connect(seconds)
        place = sock.getpeername()
        connection = http.client.HTTPConnection("localhost", timeout=seconds)
        connection.sock = sock
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            status, said = answer.status, answer.read()
        except TimeoutError:
            told = _("the gateway at {place} did not answer within {seconds:g} s; its log may say why")
            raise NoGateway(told.format(place=place, seconds=seconds)) from None
        except (OSError, http.client.HTTPException) as error:
            told = _("what listens at {place} left without an answer ({error}); is it a gateway that just ended?")
            raise NoGateway(told.format(place=place, error=ascii(str(error))[1:-1] or type(error).__name__)) from None
        finally:
            connection.close()
        return place, status, said

    def _connect(self, seconds: float) -> socket.socket:
        places = self._places()
        looked: list[str] = []
        for place in places:
            try:
                return _connected(place, seconds)
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


def _other_version(value: dict[str, Any]) -> NoGateway:
    theirs = ascii(value.get("version", "?"))[1:-1]
    told = _("the gateway is version {theirs}, this command {ours}, and they do not understand each other")
    return NoGateway(told.format(theirs=theirs, ours=__version__))


def _value(place: str, status: int, body: bytes) -> dict[str, Any]:
    """The JSON of an answer. Raises NoGateway where there is none."""
    try:
        value = json.loads(body)
    except ValueError:
        said = ascii(body[:200].decode("utf-8", "replace").strip())[1:-1]
    else:
        if isinstance(value, dict) and status in (200, 404, 409):
            return value
        said = ascii(body[:200].decode("utf-8", "replace"))[1:-1]
    told = _("the gateway at {place} answered {status}, which this command does not understand: {said}")
    raise NoGateway(told.format(place=place, status=status, said=said))
