"""What server a ClientHello names."""

from typing import Optional

from ogw.policy.decision import Reason
from ogw.policy.rejection import Reject
from ogw.wire.connect import Target, parse_host
from ogw.wire.quotation import quoted


def server_name(names: Optional[tuple[bytes, ...]], target: Target, may_lack: bool) -> str:
    """The name in its canonical form; "" where there is none, or one that says no more. Raises Reject.

    names     as the ClientHello has them
    may_lack  sessions to this target need none (no-server-name)
    """
    if not names:
        if may_lack:
            return ""
        raise Reject(
            Reason.SERVER_NAME_MISSING,
            f"the ClientHello names no server; no-server-name in the rule of {target.host} would let it pass",
        )
    if len(names) > 1:
        raise Reject(Reason.SERVER_NAME_INVALID, f"the ClientHello has {len(names)} server names")
    if target.address is None and names[0] == target.host.encode():
        return target.host
    name = names[0]
    shown = quoted(name)
    if name.count(b":") > 1 and name[:1] != b"[":
        name = b"[%b]" % name  # parse_host takes IPv6 in brackets only, and clients send it without
    try:
        host, address = parse_host(name)
    except ValueError as error:
        raise Reject(Reason.SERVER_NAME_INVALID, f"the server name {shown} {error}") from None
    if address is None:
        return host
    if address == target.address and may_lack:
        return ""  # it says no more than no name does
    raise Reject(Reason.SERVER_NAME_INVALID, f"the server name {shown} is an IP address (RFC 6066, section 3)")
