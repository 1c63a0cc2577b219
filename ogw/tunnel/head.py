"""Step 1 of the path: read the head of a request, within its limits of time and size."""

import _socket
import time
from collections.abc import Callable

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import Reason
from ogw.tunnel.loop import READ, Deadline, Expired
from ogw.tunnel.refusal import Left, Refused
from ogw.wire.connect import (
    BadRequest,
    BadTarget,
    HeadError,
    HeadTooLarge,
    NotConnect,
    ProxyHeader,
    Request,
    RequestReader,
    read_request,
)

RECEIVE_SIZE = 16 * 1024
HEAD_REASONS: dict[type[HeadError], Reason] = {
    NotConnect: Reason.NOT_CONNECT,
    BadRequest: Reason.BAD_REQUEST,
    BadTarget: Reason.BAD_TARGET,
    ProxyHeader: Reason.PROXY_HEADER_NOT_ALLOWED,
    HeadTooLarge: Reason.HEAD_TOO_LARGE,
}


def read_head(
    client: _socket.socket,
    ip: str,
    first: bytes,
    accepted: float,
    seconds: float,
    most: int,
    judge: Callable[[bytes], None],
) -> Request:
    """The request that a client begins with. Raises Refused, or Left where there is nobody to answer.

    ip        the client's
    first     what came with the connection
    accepted  when that was; the `seconds` for the head count from then, however long its first byte was waited for
    most      bytes
    judge     is called with what comes first: who connects and says nothing, as load balancers do, costs no judgement
    """
    try:
        if first:
            judge(first)
            request = read_request(first, most)
            if request is not None:
                return request
        return _await_head(client, first, accepted, seconds, most, judge)
    except HeadError as error:
        more = f"; {_to_be_believed(ip)}" if isinstance(error, ProxyHeader) else ""
        raise Refused(HEAD_REASONS[type(error)], error.detail + more) from None


def target_of(data: bytes, most: int) -> str:
    """host:port of a head that is whole; "" for any other."""
    try:
        request = read_request(data, most)
    except HeadError:
        return ""
    return str(request.target) if request is not None else ""


def _await_head(
    client: _socket.socket, first: bytes, accepted: float, seconds: float, most: int, judge: Callable[[bytes], None]
) -> Request:
    hub = get_hub()
    reader = RequestReader(most)
    heard = bool(first)
    watcher = hub.loop.io(client.fileno(), READ)
    watcher.start(getcurrent().switch)
    try:
        with Deadline(accepted + seconds - time.monotonic()):
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
                    judge(more)
                    heard = True
                request = reader.feed(more)
                if request is not None:
                    return request
    except Expired:
        if not heard:
            raise Left from None
        detail = f"the head was not complete after {seconds:g} s (head-timeout){_which(reader)}"
        raise Refused(Reason.HEAD_TIMEOUT, detail) from None
    except OSError as error:
        raise Left(Reason.CLIENT_RESET if heard else None, f"{error.strerror} in the middle of the head") from None
    finally:
        watcher.stop()
        watcher.close()
    if not heard:
        raise Left
    raise Refused(Reason.BAD_REQUEST, f"the client closed in the middle of its head{_which(reader)}")


def _which(reader: RequestReader) -> str:
    """What the head is instead, as far as it came. Raises NotConnect or ProxyHeader."""
    instead = reader.end()
    return f", which is {instead}" if instead else ""


def _to_be_believed(client: str) -> str:
    """What the operator does about a PROXY header of this client that was refused; the end of a sentence."""
    return (
        f"no header is believed from {client}: if that is a load balancer of yours, set proxy-protocol = required and "
        f"proxy-protocol-from = {client}; if not, it tried to pass for somebody else"
    )
