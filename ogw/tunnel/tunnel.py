"""The path of one connection, first byte to last. Read `Tunnel.run`: it is the whole story."""

import _socket
import math
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.recheck import UNWATCHED, Session, recheck
from ogw.policy.tls_rules import Mode
from ogw.report.events import Event
from ogw.tunnel.budget import Budget
from ogw.tunnel.dial import Dialer
from ogw.tunnel.duplex import ENDED_IN_ORDER, Duplex, is_timeout
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.ledger import Ledger
from ogw.tunnel.linger import Cut, half_close_and_drop, pass_reset_on
from ogw.tunnel.loop import READ, Deadline, Expired
from ogw.tunnel.mailbox import ClientGone
from ogw.tunnel.pipes import Pipes
from ogw.tunnel.refusal import Refused, refusal
from ogw.tunnel.upstream import DialError, Upstream
from ogw.tunnel.verify import verify
from ogw.wire.connect import (
    ESTABLISHED,
    BadRequest,
    BadTarget,
    HeadError,
    HeadTooLarge,
    NotConnect,
    Request,
    RequestReader,
    Target,
    read_request,
)
from ogw.wire.tls import alert
from ogw.wire.via import Loop, to_pass_on

ENDS_SPREAD = 60.0  # seconds over which tunnels end that rest on one rule: their clients all come again
RECEIVE_SIZE = 16 * 1024
HEAD_REASONS: dict[type[HeadError], Reason] = {
    NotConnect: Reason.NOT_CONNECT,
    BadRequest: Reason.BAD_REQUEST,
    BadTarget: Reason.BAD_TARGET,
    HeadTooLarge: Reason.HEAD_TOO_LARGE,
}


class Draining:
    """Whether the gateway drains: told to all tunnels, whatever configuration they began with."""

    def __init__(self) -> None:
        self.now = False


@dataclass
class Shared:
    """What all tunnels of a process share: objects to ask, and limits in seconds and bytes.

    A new configuration changes what is in it, so whoever decides asks for what is in force then.

    lingers  told of a tunnel that was refused, and only lets its client finish
    """

    policy: Policy
    dialer: Dialer
    pipes: Pipes
    greenlets: Greenlets
    ledger: Ledger
    head_timeout: float
    head_max_size: int
    handshake_timeout: float
    draining: Draining
    lingers: "Callable[[Tunnel], None]"
    via: bytes = b""  # how the gateway names itself to relay proxies, if it has any
    budget: Budget = field(default_factory=Budget)  # what all unfinished handshakes may hold

    def become(self, other: "Shared") -> None:
        """Take a new configuration."""
        vars(self).update(vars(other))


class Left(Exception):
    """There is nobody to answer: the client went away, or never said a byte."""

    def __init__(self, reason: Optional[Reason] = None, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Ended(BaseException):
    """Thrown into a tunnel that is asked to end before it is open."""

    def __init__(self, reason: Reason, detail: str = "ended before it was open") -> None:
        self.reason = reason
        self.detail = detail


class Tunnel:
    """One accepted client connection. It owns its sockets: only `run` closes them."""

    __slots__ = (
        "accepted",
        "address",
        "answered",
        "asked",
        "client",
        "client_ip",
        "client_name",
        "decision",
        "detail",
        "duplex",
        "greenlet",
        "handshake",
        "id",
        "is_kept_alive",
        "is_over",
        "network",
        "policy",
        "progress",
        "progress_at",
        "reported",
        "session",
        "shared",
        "target",
        "told_down",
        "told_up",
        "until",
        "upstream",
    )

    def __init__(
        self, client: _socket.socket, address: tuple[Any, ...], tunnel_id: str, shared: Shared, network: str = ""
    ) -> None:
        self.client = client
        self.network = network  # as which its client is counted
        self.client_ip: str = address[0]
        self.client_name = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        self.id = tunnel_id
        self.shared = shared
        self.accepted = self.reported = time.monotonic()
        self.target = ""
        self.upstream = ""  # the address and port that were dialed
        # What it is judged again by: see policy/recheck.py.
        self.policy = shared.policy  # that judged it last
        self.decision = ALLOW
        self.asked: Optional[Target] = None
        self.address = ""
        self.session: Optional[Session] = None
        self.until = math.inf  # Unix seconds, when what it rests on ends
        self.handshake: Optional[Handshake] = None  # while it goes by
        self.is_over = False  # it closes what it owns: nobody throws anything but Cut into it any more
        self.is_kept_alive = False  # its upstream has got TCP keepalive
        self.detail = ""  # of its last line
        self.greenlet: Any = None
        self.answered = False  # the 200 was sent: no HTTP answer exists any more
        self.duplex: Optional[Duplex] = None  # once it copies both ways
        self.told_up = self.told_down = 0  # bytes that the ledger knows of
        self.progress = 0  # bytes copied when the sweep last looked, and when they last changed
        self.progress_at = self.accepted

    def run(self, first: bytes, refusal: Optional[Refused] = None) -> None:
        """Tell the whole story. `first` is what came with the connection, `refusal` what the worker has against it."""
        self.greenlet = getcurrent()
        try:
            if refusal is not None:
                raise refusal
            request = self._read_head(first)
            self._may_it_go(request)
            upstream, dial_seconds = self._reach(request)
            self._serve(upstream, dial_seconds, request.rest)
        except Refused as refused:
            self._refuse(refused)
        except (Left, Ended) as left:
            self._account_for_leaving(left)
        except Exception as error:
            self._report_own(error)
        finally:
            self.greenlet = None
            self.client.close()

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
        if (
            self.greenlet is None
            or self.is_over
            or self.asked is None
            or (self.duplex is not None and not recheck_open)
        ):
            return
        decision = self._recheck()
        if self.duplex is not None:
            if not decision.allowed:
                self.end_now(Reason.NOT_ALLOWED_AFTER_RELOAD, decision.detail)
        elif self.answered:
            if not decision.allowed:
                self.end_now(Reason.NOT_ALLOWED_AFTER_RELOAD, decision.detail)
            elif self.handshake is not None:
                self.handshake.go_on_under(self.policy, decision.no_server_name)
                self.greenlet.switch(None)
        elif not decision.allowed:
            self.greenlet.throw(Refused(decision.reason, decision.detail))

    def _recheck(self, now: Optional[float] = None) -> Decision:
        """What the policy in force says of it; what it is allowed from now on, where it is."""
        assert self.asked is not None
        self.policy = self.shared.policy
        decision = recheck(self.policy, self.client_ip, self.asked, self.address, self.session, now)
        if decision.allowed:
            self._rest_on(decision)
        return decision

    def _rest_on(self, decision: Decision) -> None:
        was, self.decision = self.decision, decision
        if decision.reported is not None and was.reported is None:
            reason, detail = decision.reported.reason, decision.reported.detail
            self.shared.ledger.passed(reason, detail, self.client_ip, self.target, self._who())
        self.until = math.inf if decision.until == math.inf else decision.until + random.uniform(0, ENDS_SPREAD)

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
        if wall >= self.until:
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

    def _read_head(self, first: bytes) -> Request:
        shared = self.shared
        try:
            if first:
                self._judge_client()
                request = read_request(first, shared.head_max_size)
                if request is not None:
                    return request
            return self._await_head(first)
        except HeadError as error:
            raise Refused(HEAD_REASONS[type(error)], error.detail) from None

    def _await_head(self, first: bytes) -> Request:
        shared = self.shared
        hub = get_hub()
        client = self.client
        head_timeout = shared.head_timeout
        reader = RequestReader(shared.head_max_size)
        heard = bool(first)
        watcher = hub.loop.io(client.fileno(), READ)
        watcher.start(getcurrent().switch)
        try:
            with Deadline(self.accepted + head_timeout - time.monotonic()):
                reader.feed(first)
                while True:
                    hub.switch()
                    try:
                        more = client.recv(RECEIVE_SIZE)
                    except BlockingIOError:
                        continue
                    if not more:
                        break
                    if not heard:
                        self._judge_client()
                        heard = True
                    request = reader.feed(more)
                    if request is not None:
                        return request
        except Expired:
            if not heard:
                raise Left from None
            detail = f"the head was not complete after {head_timeout:g} s (head-timeout)"
            raise Refused(Reason.HEAD_TIMEOUT, detail) from None
        except OSError as error:
            raise Left(Reason.CLIENT_RESET if heard else None, f"{error.strerror} in the middle of the head") from None
        finally:
            watcher.stop()
            watcher.close()
        if not heard:
            raise Left
        raise Refused(Reason.BAD_REQUEST, "the client closed in the middle of its head")

    # 2. May it go?

    def _judge_client(self) -> None:
        self.policy = self.shared.policy
        decision = self.policy.judge_client(self.client_ip)
        if not decision.allowed:
            raise Refused(decision.reason, decision.detail)

    def _may_it_go(self, request: Request) -> None:
        shared = self.shared
        if self.policy is not shared.policy:
            self._judge_client()
        self.asked = request.target
        self.target = str(request.target)
        if shared.ledger.log.debug:
            shared.ledger.log.event(Event.CONNECT_RECEIVED, "", **self._who())
        if shared.draining.now:
            raise Refused(Reason.DRAINING, "the gateway is draining")
        decision = shared.policy.judge_target(request.target, self.client_ip)
        if not decision.allowed:
            raise Refused(decision.reason, decision.detail)
        self._rest_on(decision)

    # 3. Reach it.

    def _reach(self, request: Request) -> tuple[Upstream, float]:
        shared = self.shared
        began = time.monotonic()
        policy = self.policy
        try:
            via = to_pass_on(request.headers, shared.via) if shared.via else ()
            upstream = shared.dialer.dial(request.target, self.decision.to, self.client, self.client_ip, via)
        except Loop as loop:
            raise Refused(Reason.RELAY_LOOP, loop.detail) from None
        except DialError as error:
            raise Refused(error.reason, error.detail, error.status) from None
        except ClientGone:
            raise Left(Reason.CLIENT_GONE, "the client reset its connection while its target was dialed") from None
        self.upstream, self.address = upstream.address, upstream.judged
        if self.shared.policy is not policy:  # its address was judged by another
            decision = self._recheck()
            if not decision.allowed:
                self._close_upstream(upstream, None)
                raise Refused(decision.reason, decision.detail)
        seconds = time.monotonic() - began
        shared.ledger.opened(seconds)
        return upstream, seconds

    # 4 to 6. The 200, the handshake going by, and copying both ways.

    def _serve(self, upstream: Upstream, dial_seconds: float, rest: bytes) -> None:
        shared = self.shared
        duplex = Duplex(self.client, upstream.socket, shared.pipes, shared.greenlets)
        self.answered = True
        try:
            # The first bytes on a fresh connection: they fit into its buffer. If the client is gone, its half says so.
            self.client.send(ESTABLISHED)
        except OSError:
            pass
        try:
            if shared.policy.tls.mode is Mode.OFF:
                duplex.up.rest, duplex.down.rest = rest, upstream.rest
                self.session = UNWATCHED
            else:
                self._verify(duplex, upstream, rest)
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

    def _verify(self, duplex: Duplex, upstream: Upstream, rest: bytes) -> None:
        """Let the handshake go by. Where the tunnel ends with it, set `duplex.reason`."""
        assert self.asked is not None
        handshake = Handshake(self.shared.policy, self.asked, self.client_ip, self.decision.no_server_name)
        self.handshake = handshake
        began = time.monotonic()
        shared = self.shared
        verify(handshake, duplex, rest, upstream.rest, shared.handshake_timeout, shared.budget, self.network)
        self.handshake, self.session = None, handshake.session
        ledger = self.shared.ledger
        if handshake.verified:
            ledger.verified(handshake, self.id, self.client_name, self.target, time.monotonic() - began)
        rejection = handshake.rejection
        if rejection is not None:
            passes = handshake.only_reports
            ledger.rejected(handshake, rejection, self.client_ip, self.target, self._who(), passes)
        if handshake.passes:
            if handshake.server_name not in ("", self.asked.host) and not handshake.only_reports:
                decision = self._recheck()  # it rests on another rule, too, which may have an end of its own
                if not decision.allowed:
                    duplex.reason, self.detail = Reason.RULE_ENDED, decision.detail
            return
        told = b""
        if rejection is not None:
            duplex.reason = rejection.reason
            if rejection.alert is not None and not duplex.down.rest:
                told = alert(rejection.alert, handshake.version)
        elif handshake.ended is not None:
            duplex.reason, self.detail = handshake.ended.reason, handshake.ended.detail
            if duplex.reason not in ENDED_IN_ORDER:
                return
        duplex.close()
        upstream.socket.close()
        handshake.let_go()
        self._tell_and_let_finish(told)

    def _close_upstream(self, upstream: Upstream, reason: Optional[Reason]) -> None:
        try:
            if reason is Reason.CLIENT_RESET:
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
        ledger.closed(
            duplex.reason or Reason.INTERNAL_ERROR,
            "the peer did not answer for too long" if is_timeout(duplex.error) else self.detail,
            self.id,
            self.client_name,
            self.target,
            upstream.address,
            up,
            down,
            dial_seconds,
            time.monotonic() - self.accepted,
        )

    def _account_for_leaving(self, left: "Left | Ended") -> None:
        self.shared.ledger.left(left.reason, left.detail, self._who())

    def _who(self) -> dict[str, Any]:
        return {
            "tunnel": self.id,
            "client": self.client_name,
            "target": self.target or None,
            "duration": round(time.monotonic() - self.accepted, 6),
        }

    def _report_own(self, error: Exception) -> None:
        """An error of the gateway itself: the log gets all of it, the client that none of it is its fault."""
        detail = f"{type(error).__name__}: {error}; this is an error of the gateway, please report it"
        told = "".join(traceback.format_exception(error))
        if not self.answered:
            self._refuse(Refused(Reason.INTERNAL_ERROR, detail), traceback=told)
        else:
            log = self.shared.ledger.log
            log.event(Event.ERROR, detail, Reason.INTERNAL_ERROR.token, traceback=told, **self._who())

    # A refusal: answer, half-close, let the client finish, close.

    def _refuse(self, refused: Refused, **more: Any) -> None:
        reason = refused.reason
        told = {"status": reason.status, "received_status": refused.received_status, **self._who(), **more}
        self.shared.ledger.refused(reason, refused.detail, self.client_ip, self.target, told)
        self._tell_and_let_finish(refusal(reason, self.id, refused.received_status))

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
