"""A target or a DNS server tried as a tunnel would use it, to see who answers.

For commands; no tunnel of the gateway goes through here.
"""

import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional, TypeVar

import gevent
from gevent.hub import get_hub
from gevent.pool import Pool

from ogw.policy.decision import Reason
from ogw.tunnel.dial import Dialer
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.lookup import Found
from ogw.tunnel.loop import Deadline, Expired, Interruptible
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.name_files import ResolvConf
from ogw.tunnel.question import Servers
from ogw.tunnel.resolve import KINDS
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target

Result = TypeVar("Result")


class Probed(NamedTuple):
    """What came of it; times are in seconds.

    failure      the reason why it was not reached, and a sentence in `detail`; None where it was
    address      "address:port" of the other end of the connection
    look_up      None where no name was looked up here
    version      of the TLS session, "" where there was none: `detail` says why
    certificate  the server's, as DER
    untrusted    why it is not to be trusted; "" where it is
    status       that of the relay proxy's answer, if it refused
    offered      the schemes of its 407
    scheme       by which the gateway authenticated itself to it; "" for none
    """

    failure: Optional[Reason] = None
    detail: str = ""
    address: str = ""
    look_up: Optional[float] = None
    dial: float = 0.0
    version: str = ""
    certificate: bytes = b""
    untrusted: str = ""
    status: Optional[int] = None
    offered: tuple[str, ...] = ()
    scheme: str = ""


class Probe:
    """Tries targets with the gateway's own dialer.

    context  what servers are verified with
    seconds  the limit of a handshake
    """

    def __init__(self, dialer: Dialer, context: ssl.SSLContext, seconds: float) -> None:
        self._dialer = dialer
        self._verifying = context
        self._trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._trusting.check_hostname, self._trusting.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._trusting.minimum_version = context.minimum_version
        self._seconds = seconds

    def try_target(self, target: Target, to: tuple[Any, ...], client_ip: str, tls: bool = True) -> Probed:
        """Dial it as for this client; with `tls`, make a session, too."""
        looked_up: Optional[float] = None
        try:
            if self._dialer.resolves(target, client_ip):
                began = time.monotonic()
                survey = self._dialer.survey(target, to, client_ip)
                looked_up = time.monotonic() - began
                if survey.failure is not None:
                    raise survey.failure
            began = time.monotonic()
            upstream = self._dial(target, to, client_ip)
        except DialError as error:
            return Probed(error.reason, error.detail, look_up=looked_up, status=error.status)
        reached = Probed(address=upstream.address, look_up=looked_up, dial=time.monotonic() - began)
        if not tls:
            close(upstream)
            return reached
        try:
            version, certificate = self._handshake(upstream, target.host, self._verifying)
        except ssl.SSLCertVerificationError as error:
            # Only a session that trusts everybody shows whom there is to distrust.
            untrusted = error.verify_message
            try:
                upstream = self._dial(target, to, client_ip)
                version, certificate = self._handshake(upstream, target.host, self._trusting)
            except (DialError, OSError):
                version, certificate = "?", b""
            return reached._replace(version=version, certificate=certificate, untrusted=untrusted)
        except ssl.SSLError as error:
            return reached._replace(detail=(error.reason or str(error)).lower().replace("_", " "))
        except OSError as error:
            return reached._replace(detail=error.strerror or str(error))
        return reached._replace(version=version, certificate=certificate)

    def _dial(self, target: Target, to: tuple[Any, ...], client_ip: str) -> Upstream:
        return self._dialer.dial(target, to, None, client_ip)

    def _handshake(self, upstream: Upstream, host: str, context: ssl.SSLContext) -> tuple[str, bytes]:
        """Version and certificate. Raises OSError, of which ssl.SSLError is one."""
        leg = Leg(upstream.socket, context, host)
        try:
            with gevent.Timeout(self._seconds, TimeoutError("it did not answer in time (handshake-timeout)")):
                leg.handshake()
            return leg.version, leg.certificate
        finally:
            leg.close()
            if upstream.closed is not None:
                upstream.closed()


def close(upstream: Upstream) -> None:
    """It was only tried."""
    upstream.socket.close()
    if upstream.closed is not None:
        upstream.closed()


class Answers(NamedTuple):
    """How a DNS server answers.

    seconds     until it first did
    keeps_case  it leaves small and capital letters as they are
    refuses     what it says instead of whether there is such a name, as a sentence; "" where it says that
    """

    seconds: float
    keeps_case: bool
    refuses: str


def ask_server(server: tuple[str, int], name: str, seconds: float) -> Optional[Answers]:
    """How this one DNS server answers when it is asked for a name; None where it does not.

    It is asked whatever else knows the name: the hosts file, or what is said of localhost.
    """
    servers = Servers(ResolvConf([server]), seconds)
    mailbox = Mailbox()
    found: list[tuple[float, Found]] = []
    get_hub().loop.update_now()  # its timers count from when it last looked at the clock
    began = time.monotonic()

    def answered(one: Found) -> None:
        found.append((time.monotonic() - began, one))
        mailbox.tell_soon(None)

    try:
        with Deadline(seconds):
            for kind in KINDS.values():
                servers.ask(name, kind, answered)
            while len(found) < len(KINDS):
                mailbox.wait()
    except Expired:
        pass
    finally:
        servers.rest()
    heard = [(after, one) for after, one in found if one.heard]
    if not heard:
        return None
    refusals = [one.detail for _after, one in heard if one.failure is not None]
    return Answers(heard[0][0], servers.keep_case, refusals[0] if len(refusals) == len(heard) else "")


def in_parallel(
    jobs: Sequence[Callable[[], Result]], most: int, seconds: float, finished: Callable[[], object]
) -> list[Optional[Result]]:
    """The results of jobs that wait, so many of them at a time; None for those that `seconds` were too short for.

    finished  is called whenever one is

    Ctrl-C is a KeyboardInterrupt here, never in a job.
    """
    results: list[Optional[Result]] = [None] * len(jobs)

    def work(number: int) -> None:
        results[number] = jobs[number]()
        finished()

    get_hub().loop.update_now()  # its timers count from when it last looked at the clock
    pool = Pool(most)
    left = gevent.Timeout(seconds)
    try:
        with Interruptible(), left:
            for number in range(len(jobs)):
                pool.spawn(work, number)
            pool.join()
    except gevent.Timeout as timeout:
        if timeout is not left:
            raise
    finally:
        pool.kill(timeout=1.0)
    return results
