"""`ogw inspect`: what the gateway sees in recorded bytes of a TLS handshake, and what it would decide."""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Optional

from ogw.cli.configuration import gateway_parser
from ogw.cli.exits import FAILED, OK, WRONG, Wrong
from ogw.cli.parser import Parser
from ogw.cli.words import client_address, name_of_client
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.messages import pgettext
from ogw.machine.files import shown
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.names import Names
from ogw.settings.loader import ConfigError, load
from ogw.wire.connect import (
    BadTarget,
    HeadError,
    Target,
    parse_host,
    parse_target,
    read_request,
)
from ogw.wire.host_mistakes import target_mistake
from ogw.wire.quotation import quoted
from ogw.wire.records import Message, Reader
from ogw.wire.tls import (
    HANDSHAKE,
    MessageKind,
    TlsError,
    read_certificate,
    read_client_hello,
    read_server_hello,
    version_name,
)

USAGE = "ogw inspect FILE|- [--target HOST[:PORT]] [--json] [FLAGS]"
LARGEST_FILE = 1 << 20
# What files of packets begin with: pcap in either order of bytes, in micro- or nanoseconds, and pcapng.
CAPTURES = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")
NO_TARGET = N_("no target is known; name it with --target")
_UNKNOWN = Target("the target", 443)  # no host that there could be, so that no rule has it; messages show it as words


@dataclass
class Seen:
    """One direction: its messages as far as they are plain, what the rules look at, and what cannot be read."""

    messages: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def parser() -> Parser:
    made = gateway_parser(
        "inspect",
        _(
            "Say what the gateway sees in recorded bytes of a TLS session, and what it would decide. The bytes are "
            "those of TCP, without headers of packets; a CONNECT request in front of them names the target."
        ),
        examples=[
            "ogw inspect hello.bin --tls-min-version 1.3",
            "ogw inspect --client up.bin --server down.bin --target www.example.com --json",
        ],
        codes={
            OK: _("the session is verified, or fine so far"),
            FAILED: _("the gateway would reject or end the session"),
            WRONG: _("the command line, the recording or the configuration is wrong"),
        },
        usage=USAGE,
    )
    made.add_argument("file", nargs="?", metavar="FILE|-", help=_("what the client sent; - is standard input"))
    made.add_argument("--client", metavar="FILE", help=_("what the client sent"))
    made.add_argument("--server", metavar="FILE", help=_("what the server answered"))
    made.add_argument("--target", metavar="HOST[:PORT]", help=_("what the client asked for (default: its server name)"))
    about = _("the client's address, for rules with from= (default: 127.0.0.1)")
    made.add_argument("--client-address", metavar="IP", type=client_address, default="127.0.0.1", help=about)
    about = _("a name of the client's certificate, cn:NAME or san:NAME, for rules with from= (may be repeated)")
    made.add_argument("--from", dest="names", metavar="NAME", type=name_of_client, action="append", default=[],
                      help=about)  # fmt: skip
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    try:
        if bool(asked.file) == bool(asked.client):
            raise Wrong(_("name the client's bytes: FILE, - for standard input, or --client FILE"))
        if asked.server and not asked.client:
            raise Wrong(_("--server needs --client: the server's bytes mean nothing without the client's"))
        if asked.client == asked.server == "-":
            raise Wrong(_("standard input, -, is one file: name another for the client or the server"))
        policy = load(asked.flags, os.environ).policy
        up, target = _client_bytes(_read(asked.file or asked.client))
        down = _server_bytes(_read(asked.server)) if asked.server else b""
        client, server = _look(up), _look(down)
        place, names = _target(asked.target, target, client), frozenset(asked.names)
        judged = _verdict(policy, place, asked.client_address, names, up, down)
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"ogw: {mistake}", file=sys.stderr)
        return WRONG
    answer = {"client": _as_dict(client), "server": _as_dict(server), **judged}
    if asked.json:
        print(json.dumps(answer, indent=2))
    else:
        _print(answer)
    is_stopped = judged["verdict"] in ("rejected", "ended") and not _passes(judged)
    return FAILED if is_stopped else OK


# What was recorded.


def _read(path: str) -> bytes:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LARGEST_FILE)
        else:
            with open(path, "rb") as file:
                data = file.read(LARGEST_FILE)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None
    if data.startswith(CAPTURES):
        told = _("{path}: it is a capture of packets, and not what one side of a connection sent; save that, as "
                 "Wireshark does with Follow, TCP Stream, Raw")  # fmt: skip
        raise Wrong(told.format(path=shown(path)))
    return data


def _client_bytes(data: bytes) -> tuple[bytes, Optional[Target]]:
    """The bytes behind the CONNECT request, if there is one, and its target."""
    if not data:
        raise Wrong(_("the client's bytes are empty"))
    if data[:8] != b"CONNECT ":
        return data, None
    try:
        request = read_request(data, LARGEST_FILE)
    except HeadError as error:
        raise Wrong(_("the CONNECT request in front: {error}").format(error=error.detail)) from None
    if request is None:
        raise Wrong(_("the CONNECT request in front has no end"))
    return request.rest, request.target


def _server_bytes(data: bytes) -> bytes:
    """The bytes behind the answer to the CONNECT, if there is one."""
    return data.partition(b"\r\n\r\n")[2] if data[:5] == b"HTTP/" else data


def _target(asked: Optional[str], recorded: Optional[Target], client: Seen) -> Optional[Target]:
    """None where nothing says it."""
    if asked is not None:
        if mistake := target_mistake(asked):
            raise Wrong(f"--target: {mistake}")
        text = asked if asked.rpartition(":")[2].isdigit() and not asked.endswith("]") else f"{asked}:443"
        try:
            return parse_target(text.encode("utf-8", "replace"))
        except BadTarget as error:
            raise Wrong(f"--target: {error.detail}") from None
    if recorded is not None:
        return recorded
    for name in client.facts.get("raw names", ()):
        try:
            host, address = parse_host(name)
        except ValueError:
            continue
        return Target(host, 443, address)
    return None


# What is in it.


def _look(data: bytes) -> Seen:
    seen = Seen()
    try:
        for message in Reader(LARGEST_FILE).feed(data):
            seen.messages.append(_name(message))
            if message.type != HANDSHAKE:
                if "hello retry request" in seen.facts and "version" not in seen.facts:
                    continue  # the ServerHello is still to come
                break  # what follows is encrypted, or the end
            if message.kind == MessageKind.CLIENT_HELLO and not seen.facts:
                _client_hello(seen, message.body)
            elif message.kind == MessageKind.SERVER_HELLO and "version" not in seen.facts:
                _server_hello(seen, message.body)
            elif message.kind == MessageKind.CERTIFICATE:
                seen.facts["certificates"] = len(read_certificate(message.body))
            elif message.kind == MessageKind.CERTIFICATE_REQUEST:
                seen.facts["asks for a client certificate"] = True
    except TlsError as error:
        seen.error = error.detail
    return seen


def _client_hello(seen: Seen, body: bytes) -> None:
    hello = read_client_hello(body)
    names = hello.server_names or ()
    seen.facts.update(
        {
            "versions": [version_name(version) for version in hello.versions],
            "server names": [quoted(name)[1:-1] for name in names],
            "raw names": names,
            "application protocols": [quoted(protocol)[1:-1] for protocol in hello.alpn],
            "encrypted client hello": hello.encrypted,
            "early data": hello.early_data,
            "size": len(body) + 4,
        }
    )


def _server_hello(seen: Seen, body: bytes) -> None:
    hello = read_server_hello(body)
    if hello.retry:
        seen.facts["hello retry request"] = True
    else:
        seen.facts["version"] = version_name(hello.version)


def _name(message: Message) -> str:
    if message.type == HANDSHAKE:
        try:
            return MessageKind(message.kind).name.lower().replace("_", " ")
        except ValueError:
            return f"handshake message {message.kind}"
    return {20: "change cipher spec", 21: "alert", 23: "application data"}[message.type]


# What the gateway would decide.


def _verdict(
    policy: Policy, known: Optional[Target], address: str, names: Names, up: bytes, down: bytes
) -> dict[str, Any]:
    target = known or _UNKNOWN
    decision = policy.judge_target(target, address, None, names)
    handshake = Handshake(policy, target, address, decision.no_server_name, names)
    data, at = {True: up, False: down}, {True: 0, False: 0}
    # One byte at a time, in turns: a recording does not say in which order the two directions went.
    while not handshake.settled and at[turn := handshake.awaits_client] < len(data[turn]):
        at[turn] += 1
        (handshake.client_said if turn else handshake.server_said)(data[turn][at[turn] - 1 : at[turn]])
    judged: dict[str, Any] = {
        "target": None if known is None else str(target),
        "target allowed": None if known is None else decision.allowed,
        "target reason": NO_TARGET if known is None else decision.detail,
        "tls-rules": policy.tls.mode.value,
        "verdict": "undecided",
        "subject": handshake.subject,
    }
    if handshake.verified:
        judged["verdict"] = "verified"
    elif handshake.rejection is not None:
        reason = handshake.rejection.reason
        judged |= {"verdict": "rejected", "reason": reason.token, "event": reason.event}
        judged["detail"] = handshake.rejection.detail
        judged["alert"] = handshake.rejection.alert.name.lower() if handshake.rejection.alert else None
    elif handshake.ended is not None:
        judged |= {"verdict": "ended", "detail": handshake.ended.detail}
    elif handshake.awaits_client:
        judged["detail"] = _("the client's bytes end before it is decided")
    else:
        judged["detail"] = _("fine so far; the rest depends on the server's answer (--client FILE --server FILE)")
    return judged


def _passes(judged: dict[str, Any]) -> bool:
    """Whatever the verdict is."""
    return bool(judged["tls-rules"] != "enforce")


def _as_dict(seen: Seen) -> dict[str, Any]:
    facts = {name: value for name, value in seen.facts.items() if name != "raw names"}
    return {"messages": seen.messages, **facts, "error": seen.error}


def _print(answer: dict[str, Any]) -> None:
    for who in ("client", "server"):
        for name, value in answer[who].items():
            if value not in ("", []):
                print(f"{who + ':':8} {name:30} {_plain(value)}")
    print(f"target:  {_of_target(answer)}")
    event = f" ({answer['reason']}, OGW-{answer['event']})" if "event" in answer else ""
    detail = f": {answer['detail']}" if answer.get("detail") else ""
    print(f"verdict: {answer['verdict']}{event}{detail}")
    if answer["subject"]:
        print(f"subject: {answer['subject']}")
    if _passes(answer):
        note = _("tls-rules is {mode}: the gateway would let the session pass").format(mode=answer["tls-rules"])
        print(f"note:    {note}")


def _of_target(answer: dict[str, Any]) -> str:
    if answer["target"] is None:
        return _(NO_TARGET)
    allowed = answer["target reason"]
    if answer["target allowed"]:
        allowed = (
            _("passes, policy-mode is report: {why}").format(why=allowed)
            if allowed
            else pgettext("of a target", "allowed")
        )
    return f"{answer['target']} ({allowed})"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
