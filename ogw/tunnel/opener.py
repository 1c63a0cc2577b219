"""Step 3 of the path, its other way: one relay proxy is reached, and asked for a tunnel in its language."""

import _socket
import ssl
import time
from collections.abc import Sequence
from typing import Optional

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.tunnel.asking_http import AskingHttp
from ogw.tunnel.asking_socks import AskingSocks
from ogw.tunnel.authentication import Authentication
from ogw.tunnel.connector import Connector
from ogw.tunnel.conversation import Conversation
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.loop import Deadline, Expired
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.not_opened import NotOpened, closed, failure, silent
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import DialError, UnknownName, Upstream
from ogw.wire.connect import Target
from ogw.wire.place import place
from ogw.wire.protocols import begins_tls
from ogw.wire.relay_proxy import Credentials, RelayProxy

MOST_PASSWORDS = 3  # that a tunnel tries, each read since the one before was refused
IN_HANDSHAKE = "in its TLS handshake"  # where in the conversation it closes


class Opener:
    """Asks relay proxies for tunnels.

    via        how this gateway names itself to them
    passwords  for those whose URL has none
    context    what an encrypted one is verified with
    timeout    seconds for the conversation, the handshake of an encrypted one included; reaching it has its own
    authentication  how the gateway authenticates itself over HTTP
    """

    def __init__(
        self,
        connector: Connector,
        via: bytes,
        passwords: PasswordSource,
        context: Optional[ssl.SSLContext],
        own: OwnPlaces,
        timeout: float,
        authentication: Authentication,
    ) -> None:
        self._connector = connector
        self.passwords = passwords
        self._context = context
        self._own = own
        self._timeout = timeout
        self._http = AskingHttp(via, authentication, timeout)
        self._socks = AskingSocks(authentication, timeout)

    def open(
        self, relay: Relay, target: Target, mailbox: Mailbox, via: Sequence[bytes], addresses: Sequence[str] = ()
    ) -> Upstream:
        """The tunnel, opened. Raises NotOpened, DialError where there are no descriptors, or ClientGone.

        addresses  of the target's name, for one that is not to resolve it itself
        """
        own = relay.proxy.credentials
        tries = 0
        while True:
            known = own or self.passwords.given
            tries += 1
            try:
                return self._ask(relay, target, mailbox, via, addresses, known)
            except NotOpened as failed:
                # A rotated password needs nobody; another tunnel may have read the file while this one waited. What was
                # refused is not sent again: that would lock an account.
                if not failed.is_about_credentials or own is not None or tries == MOST_PASSWORDS:
                    raise
                if self.passwords.given == known and not self.passwords.reread():
                    raise

    def _ask(
        self,
        relay: Relay,
        target: Target,
        mailbox: Mailbox,
        via: Sequence[bytes],
        addresses: Sequence[str],
        known: Optional[Credentials],
    ) -> Upstream:
        """In its language, with these credentials or none. Raises as `open` does."""
        if relay.proxy.speaks_socks:
            given = addresses if relay.proxy.resolves_here else ()
            return self._socks.open(target, mailbox, given, known, lambda seconds: self._begin(relay, mailbox, seconds))
        return self._http.open(relay, target, mailbox, via, known, lambda: self._begin(relay, mailbox, self._timeout))

    def _begin(self, relay: Relay, mailbox: Mailbox, seconds: float) -> Conversation:
        """A connection to it, encrypted where it wants that, for a conversation of so long. Raises as `open` does."""
        plain = self._connect(relay.proxy, mailbox)
        began = time.monotonic()
        leg: Optional[Leg] = None
        if relay.proxy.encrypted:
            try:
                leg, sock = self._encrypt(relay, plain.socket, began)
            except BaseException:
                plain.socket.close()
                raise
            plain = plain._replace(socket=sock)
        return Conversation(relay, plain, leg, mailbox, began + seconds, seconds)

    def _connect(self, proxy: RelayProxy, mailbox: Mailbox) -> Upstream:
        try:
            return self._connector.connect(proxy.target, lambda address: self._judge(proxy, address), mailbox)
        except DialError as error:
            if error.reason is Reason.NO_DESCRIPTORS:
                raise
            reason = error.reason if error.reason is Reason.RELAY_LOOP else Reason.RELAY_UNREACHABLE
            told = DialError(reason, f"relay proxy {proxy} cannot be reached: {error.detail}")
            hint = "its name is not known (names are absolute)" if isinstance(error, UnknownName) else ""
            raise NotOpened(told, at_fault=True, hint=hint) from None

    def _judge(self, proxy: RelayProxy, address: str) -> Decision:
        """The address guard leaves the operator's own choice alone, unless it is a loop."""
        if self._own.hold(address, proxy.target.port):
            return Decision(False, Reason.RELAY_LOOP, f"{place(address, proxy.target.port)} is this gateway itself")
        return ALLOW

    def _encrypt(self, relay: Relay, sock: _socket.socket, began: float) -> tuple[Leg, _socket.socket]:
        """The leg that owns the connection, and its plain end."""
        proxy = relay.proxy
        assert self._context is not None
        self._connector.keep_alive(sock)
        leg = Leg(sock, self._context, proxy.target.host)
        try:
            with Deadline(self._timeout):
                leg.handshake()
            return leg, leg.start()
        except ssl.SSLCertVerificationError as error:
            leg.close()
            what = f"is not to be trusted: {error.verify_message} (relay-proxy-ca-file)"
            raise failure(Reason.RELAY_UNTRUSTED, proxy, what, at_fault=True) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # a FIN may be either (OP_IGNORE_UNEXPECTED_EOF)
            leg.close()
            raise closed(relay, began, IN_HANDSHAKE, None, _without_tls(relay, leg.heard)) from None
        except ssl.SSLError as error:
            leg.close()
            what = f"does not speak TLS as it should: {error.reason or error.strerror}"
            raise failure(Reason.RELAY_MALFORMED, proxy, what, True, _without_tls(relay, leg.heard)) from None
        except Expired:
            leg.close()
            raise silent(relay, self._timeout, began, _without_tls(relay, leg.heard)) from None
        except OSError as error:
            leg.close()
            if error.errno in NO_DESCRIPTORS:  # for its plain end, or no memory for what it says
                why = f"relay proxy {proxy}: {error.strerror}: raise the limit of open files"
                raise DialError(Reason.NO_DESCRIPTORS, why) from None
            raise closed(relay, began, IN_HANDSHAKE, error, _without_tls(relay, leg.heard)) from None
        except BaseException:
            leg.close()
            raise


def _without_tls(relay: Relay, heard: bytes) -> str:
    """Of one that is spoken to in TLS, and may not want it. `heard`: how its answer to our ClientHello begins."""
    advice = f"try relay-proxy = http://{relay.proxy.target} instead"
    if heard and b"HTTP/".startswith(heard):
        return f"it speaks HTTP without TLS: {advice}"
    return "" if relay.answered or (heard and begins_tls(heard[0])) else f"it may speak without TLS: {advice}"
