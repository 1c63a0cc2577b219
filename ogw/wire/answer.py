"""Our answers to a CONNECT, as bytes."""

from collections.abc import Sequence
from typing import Optional

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def answer(status: int, phrase: str, headers: Sequence[tuple[str, str]], body: str) -> bytes:
    """A whole response of ours, after which the connection is closed.

    Raises ValueError for a phrase or a header that would break out of its line.
    """
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers),
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a phrase or header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def proxy_status(error: str, reason: str, event: int, tunnel: str, received_status: Optional[int] = None) -> str:
    """The value of Proxy-Status (RFC 9209): its error type, our reason token, event number and tunnel id.

    received_status  the status of the relay proxy's answer (section 2.1.5)
    """
    received = "" if received_status is None else f"; received-status={received_status}"
    return f'ogw; error={error}{received}; reason={reason}; event={event}; tunnel="{tunnel}"'
