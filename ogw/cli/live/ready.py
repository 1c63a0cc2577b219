"""`ogw ready`: whether clients should be sent to the running gateway, as an exit code; and the order to say no.

keepalived runs it every second: what only the order needs, or a gateway without a socket for us, is imported there.
"""

import argparse
import os
import re
import socket
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from ogw.cli.exits import FAILED, NO_GATEWAY, OK, Wrong
from ogw.cli.live.meant import meant_by
from ogw.cli.live.sockets import (
    NO_GATEWAY_MEANS,
    add_gateway,
    connect,
    left_without,
    not_understood,
    nowhere,
)
from ogw.cli.parser import Parser, parser_of
from ogw.language.messages import gettext as _
from ogw.report.status import ABSENT_HEADER, CONFIG_HEADER

SECONDS = 2.0  # for the whole answer: whoever checks health every second waits for no gateway that hangs
LARGEST = 1 << 14  # bytes of an answer
QUESTION = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r].*?\r\n\r\n", re.DOTALL)
_CONFIG, _ABSENT = (
    re.compile(rb"\r\n%s:[ \t]*([^\r\n]*)\r\n" % name.encode(), re.IGNORECASE)
    for name in (CONFIG_HEADER, ABSENT_HEADER)
)


class _Answer(NamedTuple):
    """
    why     no client should be sent to it; "" where one may be
    absent  the listen addresses that its machine does not have, as it tells them
    """

    why: str
    absent: str


def parser() -> Parser:
    made = parser_of(
        "ready",
        _(
            "Say whether clients should be sent to the gateway, as /readyz does: the health check of a container, of "
            "keepalived, of a balancer's script. It asks the socket in run-dir; where that is not there, or not for "
            "this user, health-address or admin-address, as OGW_ variables and the INI file name them. With --off the "
            "gateway is not ready from then on, for /readyz, too, but still serves all clients that come: whoever "
            "sends clients here can send them elsewhere before it is stopped. That lasts until --on, or until the "
            "gateway is started again; reloads and upgrades keep it."
        ),
        examples=[
            "ogw ready",
            "ogw ready --quiet || echo send no clients",
            "sudo ogw ready --off && sleep 10 && sudo systemctl stop ogw",
        ],
        codes={
            OK: _("clients should be sent to the gateway; --off, --on: done, or it was done already"),
            FAILED: _(
                "no clients should be sent to the gateway: it starts or drains, was taken out, a worker does not "
                "answer, or it does not answer within {seconds:g} s; --off, --on: refused"
            ).format(seconds=SECONDS),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )  # fmt: skip
    add_gateway(made)
    either = made.add_mutually_exclusive_group()
    either.add_argument("--off", action="store_true", help=_("take the gateway out: it is not ready from now on"))
    either.add_argument("--on", action="store_true", help=_("take the gateway back: it is ready if it can serve"))
    made.add_argument(
        "--quiet", action="store_true", help=_("print nothing except errors: the exit code is the answer")
    )
    return made


def run(asked: argparse.Namespace) -> int:
    if asked.off or asked.on:
        return _take(asked)
    try:
        answer = _asked(asked)
    except TimeoutError:
        answer = _Answer(_("the gateway did not answer within {seconds:g} s").format(seconds=SECONDS), "")
    if not asked.quiet:
        print(_told(answer).format(why=answer.why, places=answer.absent))
    return FAILED if answer.why else OK


def _told(answer: _Answer) -> str:
    """The sentence for it, to be filled in."""
    if answer.why and answer.absent:
        return _("not ready: {why}; this machine does not have the address of {places} now")
    if answer.absent:
        return _("ready; this machine does not have the address of {places} now")
    return _("not ready: {why}") if answer.why else _("ready")


def _asked(asked: argparse.Namespace) -> _Answer:
    """Raises TimeoutError, NoGateway or Wrong."""
    meant = meant_by(asked.config, asked.run_dir)
    encrypted: list[str] = []
    # One whose run-dir was typed, or is in a variable, has a socket there; that of a file may be closed to this user.
    is_given = asked.run_dir or os.environ.get("OGW_RUN_DIR", "")
    also = nowhere if is_given else lambda: _addresses(asked, encrypted)
    place, sock = connect(meant, os.environ, SECONDS, also)
    try:
        with sock if place not in encrypted else _in_tls(sock) as sock:
            sock.sendall(QUESTION)
            said = _received(sock, time.monotonic() + SECONDS)
    except TimeoutError:
        raise
    except OSError as error:
        raise left_without(place, ascii(str(error))[1:-1]) from None
    answer = _understood(place, said)
    if meant.file and place[0] == "/":  # over TCP it was asked where the file that was named says
        from ogw.cli.live.named_file import require_meant

        told = _CONFIG.search(said.partition(b"\r\n\r\n")[0] + b"\r\n")
        require_meant(meant, place, told[1].decode("ascii", "replace") if told else None)
    return answer


def _addresses(asked: argparse.Namespace, encrypted: list[str]) -> Iterable[tuple[str, int]]:
    """Where else the gateway of this configuration says whether it is ready. Raises Wrong.

    encrypted  is given the place of those where it speaks TLS
    """
    from ogw.settings.loader import ConfigError, load
    from ogw.wire.place import place

    try:
        config = load(["--config", asked.config] if asked.config else [], os.environ)
    except ConfigError as error:
        told = _("no gateway has a socket here that this user may ask, and where else to ask is not known:\n{mistakes}")
        raise Wrong(told.format(mistakes=error)) from None
    if config.admin_address is not None and config.admin_key_pair is not None:
        encrypted.append(place(*config.admin_address))
    return [address for address in (config.health_address, config.admin_address) if address is not None]


def _in_tls(sock: socket.socket) -> socket.socket:
    """A session on it, of whoever listens there. Raises OSError."""
    import ssl

    # Not verified: nothing secret is sent, the address is this machine's, and the name in the certificate another's.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def _received(sock: socket.socket, until: float) -> bytes:
    """All that it says; the limit is for all of it. Raises OSError."""
    said = b""
    while len(said) < LARGEST:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(LARGEST)
        if not piece:
            break
        said += piece
    return said


def _understood(place: str, said: bytes) -> _Answer:
    """Raises NoGateway."""
    head = _ANSWER.match(said)
    if head is None:
        raise left_without(place, _("what was sent is no HTTP") if said else _("nothing was sent"))
    code, body = int(head[1]), _shown(said[head.end() :])
    if code != 503 and (code, body) != (200, "ok"):
        raise not_understood(place, code, body)
    absent = _ABSENT.search(head[0])
    return _Answer(body if code == 503 else "", _shown(absent[1]) if absent else "")


def _shown(said: bytes) -> str:
    """Harmless on a terminal."""
    return ascii(said[:200].decode("utf-8", "replace").strip())[1:-1]


def _take(asked: argparse.Namespace) -> int:
    """Out, or back. Raises NoGateway or Wrong."""
    from ogw.cli.live.gateway import flags_of, gateway_of, query_of
    from ogw.cli.screen import clean
    from ogw.cli.who import who
    from ogw.service.admin.shapes import Taken

    path = f"/take-{'out' if asked.off else 'back'}?{query_of(by=who())}"
    answer: Taken = clean(gateway_of(asked).ask(path, Taken, "POST"))
    if answer["why"]:
        print(f"ogw: {answer['why']}", file=sys.stderr)
        return FAILED
    since = f"{answer['since'][:19]}Z" if answer["since"] else ""
    if asked.on:
        told = _("the gateway was not taken out")
        if since:
            told = _("taken back: clients may be sent to the gateway")
    elif since:
        told = _("the gateway was taken out already, at {time}").format(time=since)
    else:
        told = _(
            "taken out: the gateway is not ready, but serves clients that come; `ogw ready --on{flags}` takes it back"
        )
        told = told.format(flags=flags_of(asked))
    if not asked.quiet:
        print(told)
    return OK
