"""What the TLS rules say of the handshake seen so far. Bytes in; bytes that may pass on and a verdict out.

What is held, and until when:

- ClientHello, all versions: until it is complete, well formed and allowed. Of what it offers nobody knows yet what the
  server takes, so the version that is chosen is judged as well.
- HelloRetryRequest (TLS 1.3 only): it passes, and the second ClientHello is held like the first.
- ServerHello: until its version is judged. That settles all where no list of client certificates applies, and TLS 1.3
  where one does: all that follows is encrypted, a client certificate too, so it is unseen.
- ServerHello of TLS 1.0-1.2, with a list: until the next message tells whether the session is resumed. A client that
  saw the server change to encryption takes no alert in plain text any more; so a resumed session, whose certificate
  was shown long before, has to be rejected ahead of that. The rest of a full handshake passes as it comes.
- Certificate of the client, TLS 1.0-1.2, with a list: until it is judged, and what the client says behind its hello
  with it, lest something go on that belongs behind the Certificate.
"""

import enum
from collections.abc import Callable
from typing import Optional

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.names import NOBODY, Names
from ogw.policy.recheck import Session, judge_hello
from ogw.policy.rejection import Ending, Reject, Rejection, unreadable
from ogw.policy.server_name import server_name
from ogw.policy.side import Side
from ogw.policy.tls_rules import TLS_1_3, Mode
from ogw.wire.connect import Target
from ogw.wire.quotation import quoted
from ogw.wire.records import LARGEST_RECORD, Message
from ogw.wire.tls import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    FATAL,
    HANDSHAKE,
    VERSIONS,
    Alert,
    ClientHello,
    Malformed,
    MessageKind,
    TlsError,
    TooLarge,
    read_certificate,
    read_client_hello,
    read_server_hello,
    version_name,
)


class _Waits(enum.Enum):
    """What is expected next."""

    CLIENT_HELLO = enum.auto()
    SERVER_HELLO = enum.auto()
    SECOND_HELLO = enum.auto()  # of the client, after a HelloRetryRequest
    SERVER_FLIGHT = enum.auto()  # the message that says whether a TLS 1.2 session is resumed
    SERVER_DONE = enum.auto()
    CERTIFICATE = enum.auto()  # the client's
    NOTHING = enum.auto()


# By its class, Python 3.11 takes 0.1 µs to find each of these, and a handshake asks for a dozen.
_CLIENT_HELLO, _SERVER_HELLO, _SECOND_HELLO = _Waits.CLIENT_HELLO, _Waits.SERVER_HELLO, _Waits.SECOND_HELLO
_SERVER_FLIGHT, _SERVER_DONE, _CERTIFICATE = _Waits.SERVER_FLIGHT, _Waits.SERVER_DONE, _Waits.CERTIFICATE
_NOTHING = _Waits.NOTHING
_A_CLIENT_HELLO, _A_SERVER_HELLO = MessageKind.CLIENT_HELLO, MessageKind.SERVER_HELLO
_CLIENT_CLOSED, _UPSTREAM_CLOSED = Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED
_ENFORCE = Mode.ENFORCE


class Handshake:
    """Watches one handshake. After each call, `take_up` and `take_down` give the bytes that may be passed on.

    Once it is `settled`, one of these is set:

    verified   nothing is to be watched any more
    rejection  the rules say no
    ended      a peer gave the handshake up

    What is accepted passes in whole records, up to the end of the last message accepted; from where it is rejected on,
    nothing does. Where the rules only report, everything passes on at once, whatever is said of it.
    """

    def __init__(
        self, policy: Policy, target: Target, client_ip: str, no_server_name: bool, names: Names = NOBODY
    ) -> None:
        rules = policy.tls
        self._target = target
        self._client_ip = client_ip
        self._client_names = names
        self._take(policy, no_server_name)
        self._waits = _CLIENT_HELLO
        self._client = Side("the client", _CLIENT_CLOSED, rules.max_size)
        self._server = Side("the server", _UPSTREAM_CLOSED, rules.max_size)
        self._names: Optional[tuple[bytes, ...]] = None
        self._asked = False
        self._session_id = b""
        self.server_name = ""
        self.version = 0
        self.ech_seen = False
        self.subject = ""
        self.pattern = ""  # that would allow its client certificate, where none does
        self.certificate: Optional[bytes] = None  # as in policy/recheck.py's Session
        self.settled = False
        self.verified = False
        self.rejection: Optional[Rejection] = None
        self.ended: Optional[Ending] = None

    def _take(self, policy: Policy, no_server_name: bool) -> None:
        self._policy = policy
        self._rules = policy.tls
        self._only_reports = policy.tls.mode is not _ENFORCE
        self._no_server_name = no_server_name
        self._subjects = policy.tls.subjects_for(self._target, self._client_ip)

    def go_on_under(self, policy: Policy, no_server_name: bool) -> None:
        """There is a new policy: it judges what was seen already, and all that comes."""
        self._take(policy, no_server_name)
        if self.settled or self._waits is _CLIENT_HELLO:
            return
        seen = self.session
        if seen.server_name not in ("", self._target.host) and self._subjects is None:
            other = Target(seen.server_name, self._target.port)
            self._subjects = policy.tls.subjects_for(other, self._client_ip)
        decision = judge_hello(policy, self._client_ip, self._target, no_server_name, seen, names=self._client_names)
        if not decision.allowed:
            self._settle(Rejection(decision.reason, decision.detail))

    @property
    def session(self) -> Session:
        """What was seen, as policy/recheck.py judges it."""
        broken = None if self.rejection is None else self.rejection.reason
        return Session(self.server_name, self.version, self.ech_seen, self.certificate, broken)

    def client_said(self, data: bytes) -> None:
        """Bytes of the client, in order."""
        self._judge(self._client, data, self._client_message)

    def server_said(self, data: bytes) -> None:
        """Bytes of the server, in order."""
        self._judge(self._server, data, self._server_message)

    def take_up(self) -> bytes:
        """What may go to the server now."""
        return self._take_of(self._client)

    def take_down(self) -> bytes:
        """What may go to the client now."""
        return self._take_of(self._server)

    @property
    def held(self) -> int:
        """How many bytes of both sides are held."""
        return len(self._client.held) + len(self._server.held)

    @property
    def awaits_client(self) -> bool:
        """It is the client's turn to say what is judged next: the order of a recording whose directions are apart."""
        return self._waits in (_CLIENT_HELLO, _SECOND_HELLO, _CERTIFICATE)

    @property
    def passes(self) -> bool:
        """Nothing is held, or will be: it is verified, or the rules only report."""
        return self.verified or self._only_reports

    @property
    def only_reports(self) -> bool:
        """The rules judge and let pass; also where they were switched off while it went by."""
        return self._only_reports

    @property
    def ech_to_report(self) -> bool:
        """An encrypted_client_hello went by, and the log is to say so."""
        return self.ech_seen and self._rules.ech == "report"

    def left(self, client: bool, reset: bool) -> None:
        """A peer has closed or reset its connection; that says nothing any more where all is settled."""
        if self.settled:
            return
        side = self._client if client else self._server
        reason = side.ending
        if reset:
            reason = Reason.CLIENT_RESET if client else Reason.UPSTREAM_RESET
        done = "reset" if reset else "closed"
        self._settle(ended=Ending(reason, f"{side.name} {done} before its TLS session was verified"))

    def timed_out(self, seconds: float) -> None:
        """The time for the handshake is over: that is a rejection, too."""
        awaited = "ServerHello" if self._waits is _SERVER_HELLO else "end of the handshake"
        if self._waits in (_CLIENT_HELLO, _SECOND_HELLO):
            awaited = "complete ClientHello"
        detail = f"there was no {awaited} after {seconds:g} s (handshake-timeout)"
        self._settle(Rejection(Reason.HANDSHAKE_TIMEOUT, detail))

    def gave_way(self, most: int) -> None:
        """What its worker holds of handshakes is too much, and its client holds most of it: a rejection, too."""
        detail = (
            f"the worker held more than {most} bytes of unfinished handshakes, and this client most of them "
            "(handshake-memory)"
        )
        self._settle(Rejection(Reason.TOO_MANY_HANDSHAKE_BYTES, detail))

    def let_go(self) -> None:
        """Nothing of what is held will pass: do not hold it while the client is let finish."""
        for side in (self._client, self._server):
            side.let_go()

    def _take_of(self, side: Side) -> bytes:
        if self.verified:
            return side.take_all()
        if self._only_reports:
            return side.take(side.end)
        return b"" if self.rejection is not None else side.take(side.passed)

    def _judge(self, side: Side, data: bytes, judge: Callable[[Message], None]) -> None:
        side.hold(data)
        try:
            while not self.settled:
                message = side.next_message()
                if message is not None:
                    judge(message)
                elif side.kept > self._rules.max_size + LARGEST_RECORD:
                    raise TooLarge(f"{side.kept} bytes of a handshake and no end of it")
                else:
                    return
        except Reject as reject:
            self._settle(reject.rejection)
        except TlsError as error:
            self._settle(unreadable(error, side.name))

    def _settle(self, rejection: Optional[Rejection] = None, ended: Optional[Ending] = None) -> None:
        self.rejection, self.ended = rejection, ended
        self.verified = rejection is None and ended is None
        self.settled = True

    # The client's messages.

    def _client_message(self, message: Message) -> None:
        waits = self._waits
        if message.type == ALERT and waits is not _CLIENT_HELLO:
            self._alert(message, self._client)
        elif waits in (_CLIENT_HELLO, _SECOND_HELLO):
            if message.type == HANDSHAKE and message.kind == _A_CLIENT_HELLO:
                self._client_hello(message.body)
            elif waits is _CLIENT_HELLO or message.type == HANDSHAKE:
                raise Malformed(f"{message.name} where a ClientHello belongs")
            else:
                self._pass_behind_its_hello()
        elif message.type == HANDSHAKE:
            if waits is not _CERTIFICATE or message.kind != MessageKind.CERTIFICATE:
                raise Malformed(f"{message.name} out of its order")
            self._client_certificate(message.body)
        elif waits is _CERTIFICATE:
            raise Malformed(f"{message.name} where a Certificate belongs")
        else:
            self._pass_behind_its_hello()

    def _pass_behind_its_hello(self) -> None:
        """Early data, a change of the cipher, a warning: they pass at once, unless a certificate may be awaited."""
        if self._subjects is None:
            self._client.pass_to_here()

    def _client_hello(self, body: bytes) -> None:
        hello = read_client_hello(body)
        second = self._waits is _SECOND_HELLO
        if second and hello.server_names != self._names:
            raise Reject(Reason.SERVER_NAME_MISMATCH, "the second ClientHello names another server than the first")
        if not second:
            self._judge_server_name(hello)
        if hello.best_version < self._rules.min_version:
            raise self._offers_too_little(hello)
        if hello.encrypted:
            self.ech_seen = True
            if self._rules.ech == "deny":
                raise Reject(
                    Reason.ECH_NOT_ALLOWED,
                    "the ClientHello has an encrypted_client_hello extension, real or not (encrypted-client-hello)",
                )
        self._names = hello.server_names
        self._session_id = hello.session_id
        self._waits = _SERVER_HELLO
        self._client.end_turn()

    def _offers_too_little(self, hello: ClientHello) -> Reject:
        best, least = hello.best_version, self._rules.min_version
        offered = f"{version_name(best)} at best"
        if not best:
            unknown = ", ".join(map(version_name, hello.versions[:4])) or "nothing"
            offered = f"no version of TLS that there is, only {unknown}"
        return Reject(
            Reason.TLS_VERSION, f"the client offers {offered}, less than {version_name(least)} (tls-min-version)"
        )

    def _judge_server_name(self, hello: ClientHello) -> None:
        target, names = self._target, hello.server_names
        self.server_name = name = server_name(names, target, self._no_server_name)
        if name in ("", target.host):
            return
        if self._rules.any_allowed_host:
            other = Target(name, target.port)
            decision = self._policy.judge_target(other, self._client_ip, names=self._client_names)
            if decision.allowed and decision.reported is None:
                # The rules of both hold.
                self._subjects = self._subjects or self._rules.subjects_for(other, self._client_ip)
                return
        assert names
        raise Reject(
            Reason.SERVER_NAME_MISMATCH,
            f"the server name is {quoted(names[0])}, but the target is {target.host} (server-name)",
        )

    def _client_certificate(self, body: bytes) -> None:
        if self._subjects is None:  # a new policy does not look at them any more
            self._done()
            return
        chain = read_certificate(body)
        if not chain:
            raise Reject(
                Reason.CLIENT_CERTIFICATE_NOT_SENT,
                "the server asked for a client certificate and the client has sent none (allowed-client-certificate)",
            )
        try:
            seen = self._subjects.judge(chain[0])
        except ValueError as error:
            raise Malformed(f"a client certificate that cannot be read: {error}") from None
        self.subject, self.certificate, self.pattern = seen.subject, chain[0], seen.pattern
        if not seen.allowed:
            raise Reject(
                Reason.CLIENT_CERTIFICATE_NOT_ALLOWED,
                f"the client certificate of {seen.subject} is not allowed; "
                "add its subject, or one common name of it, to allowed-client-certificate",
            )
        self._done()

    # The server's messages.

    def _server_message(self, message: Message) -> None:
        waits = self._waits
        if message.type == ALERT:
            self._alert(message, self._server)
        elif waits is _SERVER_HELLO:
            if message.type == CHANGE_CIPHER_SPEC and self.version:
                self._server.pass_to_here()  # behind a HelloRetryRequest it means nothing (RFC 8446, appendix D.4)
                return
            if message.type != HANDSHAKE or message.kind != _A_SERVER_HELLO:
                raise Malformed(f"{message.name} where a ServerHello belongs")
            self._server_hello(message.body)
        elif waits is _SERVER_FLIGHT:
            # A server may resume without that id; then there is no certificate, no key exchange: only a fresh ticket,
            # or nothing at all, before it changes to encryption (RFC 5077, section 3.1).
            if message.type == CHANGE_CIPHER_SPEC or message.kind == MessageKind.NEW_SESSION_TICKET:
                self._unseen("the session is resumed, and its client certificate was shown before")
                return
            self._waits = _SERVER_DONE
            self._server_message(message)
        elif waits is _SERVER_DONE:
            self._server_flight(message)
        elif message.type == HANDSHAKE or waits is _CLIENT_HELLO:
            raise Malformed(f"{message.name} out of its order")
        elif message.type == CHANGE_CIPHER_SPEC and waits is _SECOND_HELLO:
            self._server.pass_to_here()

    def _server_hello(self, body: bytes) -> None:
        hello = read_server_hello(body)
        if hello.retry and self.version:
            raise Malformed("a second HelloRetryRequest")
        self.version = hello.version
        if hello.version < self._rules.min_version or hello.version not in VERSIONS:
            unlike = "less than" if hello.version in VERSIONS else "which is no version of TLS; at least"
            raise Reject(
                Reason.TLS_VERSION,
                f"the server chose {version_name(hello.version)}, {unlike} "
                f"{version_name(self._rules.min_version)} (tls-min-version)",
            )
        if hello.retry:
            self._server.end_turn()
            self._waits = _SECOND_HELLO
        elif self._subjects is None:
            self._done()
        elif hello.version >= TLS_1_3:
            self._unseen("TLS 1.3 encrypts client certificates")
        elif hello.session_id and hello.session_id == self._session_id:
            # A server that resumes says the client's own id back, also one that resumes from a ticket (RFC 5077, 3.4).
            self._unseen("the session is resumed, and its client certificate was shown before")
        else:
            self._waits = _SERVER_FLIGHT

    def _server_flight(self, message: Message) -> None:
        """TLS 1.0-1.2, not resumed: does the server ask for a client certificate before it is done?"""
        if message.type != HANDSHAKE:
            raise Malformed(f"{message.name} before the ServerHelloDone")
        self._server.pass_to_here()
        if message.kind == MessageKind.CERTIFICATE_REQUEST:
            self._asked = True
        elif message.kind == MessageKind.SERVER_HELLO_DONE:
            if self._asked:
                self._server.end_turn()
                self._waits = _CERTIFICATE
            else:
                self.certificate = b""
                self._done()

    def _unseen(self, why: str) -> None:
        if self._rules.allow_unseen or self._subjects is None:
            self._done()
            return
        raise Reject(
            Reason.CLIENT_CERTIFICATE_UNSEEN,
            f"a client certificate cannot be seen: {why}; let the server use TLS 1.2 without resumption, "
            "take the target out of client-certificate-hosts, or set unseen-client-certificate = allow",
        )

    def _alert(self, message: Message, side: Side) -> None:
        level, description = message.body
        if level != FATAL:
            if side is self._client:
                self._pass_behind_its_hello()
            return
        try:
            name = f" ({Alert(description).name.lower()})"
        except ValueError:
            name = ""
        self._settle(ended=Ending(side.ending, f"{side.name} ended the handshake with alert {description}{name}"))
        side.pass_to_here()

    def _done(self) -> None:
        self._waits = _NOTHING
        self._settle()
