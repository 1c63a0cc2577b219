"""The path of one connection, first byte to last. Read `Tunnel.run`: it is the whole story."""

import _socket
import time
import traceback
from collections.abc import Callable
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import Decision, Reason
from ogw.policy.handshake import Handshake
from ogw.policy.names import NOBODY, Names
from ogw.policy.recheck import UNWATCHED
from ogw.policy.tls_rules import Mode
from ogw.report.events import Event
from ogw.report.log import Account
from ogw.tunnel.duplex import ENDED_IN_ORDER, Duplex, is_timeout
from ogw.tunnel.encrypted import Leg, await_all
from ogw.tunnel.grounds import Grounds
from ogw.tunnel.head import read_head, target_of
from ogw.tunnel.linger import Cut, half_close_and_drop, pass_reset_on
from ogw.tunnel.mailbox import ClientGone, ClientWatch
from ogw.tunnel.refusal import Left, Refused, refusal
from ogw.tunnel.shared import Shared
from ogw.tunnel.upstream import DialError, Upstream
from ogw.tunnel.verify import verify
from ogw.wire.answer import ESTABLISHED
from ogw.wire.connect import Request
from ogw.wire.place import place
from ogw.wire.tls import alert
from ogw.wire.via import Loop, to_pass_on


class Ended(BaseException):
    """Thrown into a tunnel that is asked to end before it is open."""

    def __init__(self, reason: Reason, detail: str = "ended before it was open") -> None:
        self.reason = reason
        self.detail = detail


class Tunnel:
    """One accepted client connection. It owns its sockets: only `run` closes them.

    first      what came with the connection, until its head is read
    objection  for which it is refused at once
    """

    # Of few; those have them in slots of their own.
    via = ""  # address:port of the load balancer that it came through (tunnel/introduced.py)
    names: Names = NOBODY  # in the certificate that the client has shown to the gateway
    subject = ""  # of that certificate; it is not empty where there are names

    __slots__ = (
        "accepted",
        "answered",
        "client",
        "client_ip",
        "client_name",
        "detail",
        "duplex",
        "first",
        "greenlet",
        "grounds",
        "handshake",
        "id",
        "is_kept_alive",
        "is_over",
        "network",
        "objection",
        "progress",
        "progress_at",
        "relay_leg",
        "reported",
        "shared",
        "target",
        "told_down",
        "told_up",
        "upstream",
        "watch",
    )

    def __init__(
        self, client: _socket.socket, address: tuple[Any, ...], tunnel_id: str, shared: Shared, network: str = ""
    ) -> None:
        self.client = client
        self.first = b""
        self.objection: Optional[Refused] = None
        self.network = network  # as which its client is counted
        self.client_ip: str = address[0]
        self.client_name = place(address[0], address[1])
        self.id = tunnel_id
        self.shared = shared
        self.accepted = self.reported = time.monotonic()
        self.target = ""
        self.upstream = ""  # the address and port that were dialed
        self.relay_leg: Optional[Leg] = None  # to a relay proxy that is spoken to in TLS
        self.grounds = Grounds(shared.policy)
        self.handshake: Optional[Handshake] = None  # while it goes by
        self.is_over = False  # it closes what it owns: nobody throws anything but Cut into it any more
        self.is_kept_alive = False  # its upstream has got TCP keepalive
        self.detail = ""  # of its last line
        self.greenlet: Any = None
        self.answered = False  # the 200 was sent: no HTTP answer exists any more
        self.watch: Optional[ClientWatch] = None  # while it dials, and behind that where it was refused
        self.duplex: Optional[Duplex] = None  # once it copies both ways
        self.told_up = self.told_down = 0  # bytes that the ledger knows of
        self.progress = 0  # bytes copied when the sweep last looked, and when they last changed
        self.progress_at = self.accepted

    def run(self) -> None:
        """Tell the whole story."""
        self.greenlet = getcurrent()
        try:
            if self.objection is not None:
                raise self.objection
            request = self._read_head()
            self._may_it_go(request)
            upstream, dial_seconds = self._reach(request)
            rest = request.rest
            del request  # it may last for days from here on
            self._serve(upstream, dial_seconds, rest)
        except Refused as refused:
            self._refuse(refused)
        except (Left, Ended) as left:
            self._account_for_leaving(left)
        except Exception as error:
            self._report_own(error)
        finally:
            self.greenlet = None
            if self.watch is not None:
                self.watch.readable.close()
            self.client.close()

    def still_sends(self, closed: Callable[["Tunnel"], object]) -> bool:
        """A leg in TLS is still open, once it has run: for some seconds at the most, and `closed` is told when that is
        over. False: nothing is."""
        return self.relay_leg is not None and await_all([self.relay_leg], lambda: closed(self))

    def end(self, reason: Reason) -> None:
        """Ask this tunnel to end, from anywhere. It returns at once; the tunnel closes what it owns."""
        get_hub().loop.run_callback(self.end_now, reason)

    def end_now(self, reason: Reason, detail: str = "") -> None:
        """The same, from the hub. What ends already only hurries: its reason and its account stay."""
        if self.greenlet is None:
            return
        if self.is_over:
            self.greenlet.throw(Cut)
        elif self.duplex is not None:
            if self.duplex.reason in ENDED_IN_ORDER:
                self.detail = detail
            self.duplex.end(reason)
        else:
            self.greenlet.throw(Ended(reason, detail) if detail else Ended(reason))

    def policy_changed(self, recheck_open: bool) -> None:
        """Another policy is in force, from now on for all that is not open yet. Called in the hub.

        recheck_open  and for what is
        """
        is_open = self.duplex is not None
        if self.greenlet is None or self.is_over or self.grounds.target is None or (is_open and not recheck_open):
            return
        decision = self._recheck()
        if self.answered:
            if not decision.allowed:
                self.end_now(Reason.NOT_ALLOWED_AFTER_RELOAD, decision.detail)
            elif self.handshake is not None:
                self.handshake.go_on_under(self.shared.policy, decision.no_server_name)
                self.greenlet.switch(None)
        elif not decision.allowed:
            self.greenlet.throw(Refused(decision.reason, decision.detail))

    def _recheck(self, now: Optional[float] = None) -> Decision:
        """What the policy in force says of it, which it rests on from now on where that allows it."""
        decision = self.grounds.recheck(self.shared.policy, self.client_ip, now, self.names)
        if decision.allowed:
            self._rest_on(decision)
        return decision

    def _rest_on(self, decision: Decision) -> None:
        if decision.reported is not None and self.grounds.decision.reported is None:
            reason, detail = decision.reported.reason, decision.reported.detail
            self.shared.ledger.passed(reason, detail, self.client_ip, self.target, self._who(), self.names)
        self.grounds.rest_on(decision)

    def sweep(self, now: float, wall: float, idle_timeout: float, half_closed_timeout: float) -> None:
        """End it if no byte was copied for too long: compare counts, instead of a timer per read.

        wall  the clock's time, by which rules end
        """
        duplex = self.duplex
        if duplex is None or self.is_over:
            return
        if not self.is_kept_alive:
            self.is_kept_alive = True
            self.shared.dialer.keep_alive(duplex.up.sink)
        if wall >= self.grounds.until:
            decision = self._recheck(wall)
            if not decision.allowed:
                self.end_now(Reason.RULE_ENDED, decision.detail)
        progress = duplex.up.copied + duplex.down.copied
        self.count_bytes()
        if progress != self.progress:
            self.progress, self.progress_at = progress, now
        elif duplex.half_closed:
            if now - self.progress_at >= half_closed_timeout:
                duplex.end(Reason.HALF_CLOSED_TIMEOUT)
        elif now - self.progress_at >= idle_timeout:
            duplex.end(Reason.IDLE)

    def count_bytes(self) -> None:
        """Tell the ledger what was copied since the last time."""
        if self.duplex is not None:
            up, down = self.duplex.up.copied, self.duplex.down.copied
            self.shared.ledger.copied(up - self.told_up, down - self.told_down)
            self.told_up, self.told_down = up, down

    def report(self, now: float) -> None:
        """A line of a tunnel that is open for long."""
        self.reported = now
        if self.duplex is not None:
            self.shared.ledger.still_open(self._who(), self.upstream, self.duplex.up.copied, self.duplex.down.copied)

    @property
    def state(self) -> str:
        """Where in its story it is: head, dialing, handshake, open, half-closed or closing."""
        if self.is_over:
            return "closing"
        if self.duplex is not None:
            return "half-closed" if self.duplex.half_closed else "open"
        return "handshake" if self.answered else "dialing" if self.target else "head"

    # 1. The head.

    def _read_head(self) -> Request:
        shared = self.shared
        first, self.first = self.first, b""
        seconds, most = shared.head_timeout, shared.head_max_size
        return read_head(self.client, self.client_ip, first, self.accepted, seconds, most, self._judge_client)

    # 2. May it go?

    def _judge_client(self, head: bytes = b"") -> None:
        policy = self.grounds.policy = self.shared.policy
        decision = policy.judge_client(self.client_ip)
        if not decision.allowed:
            named = self.target or target_of(head, self.shared.head_max_size)
            raise Refused(decision.reason, decision.detail, named=named)

    def _may_it_go(self, request: Request) -> None:
        shared = self.shared
        self.grounds.target = request.target
        self.target = str(request.target)
        if self.grounds.policy is not shared.policy:
            self._judge_client()
        if shared.ledger.log.debug:
            shared.ledger.log.event(Event.CONNECT_RECEIVED, "", **self._who())
        if shared.draining.now:
            raise Refused(Reason.DRAINING, "the gateway is draining")
        decision = shared.policy.judge_target(request.target, self.client_ip, None, self.names)
        if not decision.allowed:
            raise Refused(decision.reason, decision.detail)
        self._rest_on(decision)

    # 3. Reach it.

    def _reach(self, request: Request) -> tuple[Upstream, float]:
        shared = self.shared
        began = time.monotonic()
        grounds = self.grounds
        policy = grounds.policy
        self.watch = watch = ClientWatch(self.client)
        try:
            via = to_pass_on(request.headers, shared.via) if shared.via else ()
            upstream = shared.dialer.dial(request.target, grounds.decision.to, watch, self.client_ip, via)
        except Loop as loop:
            raise Refused(Reason.RELAY_LOOP, loop.detail) from None
        except DialError as error:
            raise Refused(error.reason, error.detail, error.status, error.addresses) from None
        except ClientGone:
            raise Left(Reason.CLIENT_GONE, "the client reset its connection while its target was dialed") from None
        self.upstream, grounds.address, self.relay_leg = upstream.address, upstream.judged, upstream.leg
        if self.shared.policy is not policy:  # its address was judged by another
            decision = self._recheck()
            if not decision.allowed:
                self._close_upstream(upstream, None)
                raise Refused(decision.reason, decision.detail, addresses=(upstream.judged,) if upstream.judged else ())
        seconds = time.monotonic() - began
        shared.ledger.opened(seconds)
        return upstream, seconds

    # 4 to 6. The 200, the handshake going by, and copying both ways.

    def _serve(self, upstream: Upstream, dial_seconds: float, rest: bytes) -> None:
        shared = self.shared
        assert self.watch is not None
        readable, self.watch = self.watch.readable, None
        duplex = Duplex(self.client, upstream.socket, shared.pipes, shared.greenlets, shared.burst, readable)
        duplex.up.rest, duplex.down.rest = rest, upstream.rest
        self.answered = True
        try:
            if shared.policy.tls.mode is Mode.OFF:
                self._say_established()
                self.grounds.session = UNWATCHED
            else:
                self._verify(duplex, upstream)
            if duplex.reason is None:
                self.duplex = duplex  # from here on it is the one to ask for an end
                duplex.run()
        except Ended as ended:
            duplex.reason, self.detail = ended.reason, ended.detail
        finally:
            self.is_over = True
            try:
                duplex.close()
                self._close_upstream(upstream, duplex.reason)
            finally:
                self._account(upstream, duplex, dial_seconds)

    def _say_established(self) -> None:
        try:
            # The first bytes on a fresh connection: they fit into its buffer. If the client is gone, its half says so.
            self.client.send(ESTABLISHED)
        except OSError:
            pass

    def _verify(self, duplex: Duplex, upstream: Upstream) -> None:
        """Say 200 and let the handshake go by. Where the tunnel ends with it, set `duplex.reason`."""
        grounds = self.grounds
        assert grounds.target is not None
        nameless = grounds.decision.no_server_name
        handshake = Handshake(self.shared.policy, grounds.target, self.client_ip, nameless, self.names)
        self.handshake = handshake
        began = time.monotonic()
        shared = self.shared
        verify(handshake, duplex, shared.handshake_limit, shared.budget, shared.burst, self.network)
        self.handshake, grounds.session = None, handshake.session
        ledger = self.shared.ledger
        if handshake.verified:
            seconds = time.monotonic() - began
            ledger.verified(handshake, self.id, self.client_name, self.target, seconds, self.via, self.subject)
        rejection = handshake.rejection
        if rejection is not None:
            passes = handshake.only_reports
            ledger.rejected(handshake, rejection, self.client_ip, self.target, self._who(), passes, self.names)
        if handshake.passes:
            if handshake.server_name not in ("", grounds.target.host) and not handshake.only_reports:
                decision = self._recheck()  # it rests on another rule, too, which may have an end of its own
                if not decision.allowed:
                    duplex.reason, self.detail = Reason.RULE_ENDED, decision.detail
            return
        last_words = b""
        if rejection is not None:
            duplex.reason = rejection.reason
            if rejection.alert is not None and not duplex.down.rest:
                last_words = alert(rejection.alert, handshake.version)
        elif handshake.ended is not None:
            duplex.reason, self.detail = handshake.ended.reason, handshake.ended.detail
            if duplex.reason not in ENDED_IN_ORDER:
                return
        duplex.close()
        upstream.socket.close()
        handshake.let_go()
        self._tell_and_let_finish(last_words)

    def _close_upstream(self, upstream: Upstream, reason: Optional[Reason]) -> None:
        try:
            if reason is Reason.CLIENT_RESET:
                if upstream.leg is not None:
                    upstream.leg.breaks_off = True
                pass_reset_on(upstream.socket)
            elif reason is Reason.UPSTREAM_RESET:
                pass_reset_on(self.client)
            upstream.socket.close()
        finally:
            if upstream.closed is not None:
                upstream.closed()

    # 7. Account for it.

    def _account(self, upstream: Upstream, duplex: Duplex, dial_seconds: float) -> None:
        ledger = self.shared.ledger
        up, down = duplex.up.copied, duplex.down.copied
        ledger.copied(up - self.told_up, down - self.told_down)
        detail = "the peer did not answer for too long" if is_timeout(duplex.error) else self.detail
        duration = time.monotonic() - self.accepted
        via, subject, dialed = self.via, self.subject, upstream.address
        account = Account(
            self.id, self.client_name, self.target, dialed, up, down, dial_seconds, duration, via, subject
        )
        ledger.closed(duplex.reason or Reason.INTERNAL_ERROR, detail, account)

    def _account_for_leaving(self, left: "Left | Ended") -> None:
        self.shared.ledger.left(left.reason, left.detail, self._who())

    def _who(self) -> dict[str, Any]:
        return {
            "tunnel": self.id,
            "client": self.client_name,
            "client_subject": self.subject or None,
            "via": self.via or None,
            "target": self.target or None,
            "duration": round(time.monotonic() - self.accepted, 6),
        }

    def _report_own(self, error: Exception) -> None:
        """An error of the gateway itself: the log gets all of it, the client that none of it is its fault."""
        detail = f"{type(error).__name__}: {error}; this is an error of the gateway, please report it"
        trace = "".join(traceback.format_exception(error))
        if not self.answered:
            self._refuse(Refused(Reason.INTERNAL_ERROR, detail), traceback=trace)
        else:
            log = self.shared.ledger.log
            log.event(Event.ERROR, detail, Reason.INTERNAL_ERROR.token, traceback=trace, **self._who())

    # A refusal: answer, half-close, let the client finish, close.

    def _refuse(self, refused: Refused, **more: Any) -> None:
        reason = refused.reason
        fields = {"status": reason.status or None, "received_status": refused.received_status, **self._who(), **more}
        ledger, target = self.shared.ledger, self.target
        addresses, named = refused.addresses, refused.named
        ledger.refused(reason, refused.detail, self.client_ip, target, fields, addresses, named, self.names)
        self._tell_and_let_finish(self._answer(refused))

    def _answer(self, refused: Refused) -> bytes:
        return refusal(refused.reason, self.id, refused.received_status)

    def _tell_and_let_finish(self, last_words: bytes) -> None:
        """Say it, half-close, and let the client finish: an answer must survive a client that is still sending."""
        self.is_over = True
        self.shared.lingers(self)
        try:
            if last_words:
                self.client.send(last_words)
            half_close_and_drop(self.client)
        except OSError:
            pass  # nobody is there any more to read it
