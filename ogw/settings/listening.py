"""Whether an address can be listened on here, by this user; whether it is free this moment is the doctor's question."""

import errno
import socket

from ogw.language.messages import gettext as _

NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
EVERYWHERE = {"0.0.0.0", "::"}  # all addresses of a family
FOR_CLIENTS = ("listen-address", "listen-port")  # the settings of ports for them
IP_FREEBIND, IPV6_FREEBIND = 15, 78  # linux/in.h and in6.h: Python has no names for them


def family_of(host: str) -> socket.AddressFamily:
    """Of an IP address' text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def let_be_absent(sock: socket.socket) -> None:
    """Let it be bound to an address that the machine does not have (yet): clients come once it has it."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def require_bindable(host: str, port: int, freebind: bool = False) -> None:
    """Raise OSError where no gateway of this user could listen; what is in use could be listened on, and is let be.

    freebind  the machine need not have the address
    """
    family = family_of(host)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if freebind:
            let_be_absent(sock)
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def advice(error: OSError, port: int, setting: str = "listen-port", flags: str = "") -> str:
    """Why an address cannot be listened on, and what to do.

    setting  the name of the one that says the port
    flags    by which commands mean the INI file
    """
    if error.errno == errno.EADDRINUSE:
        told = _("port {port} is in use, perhaps by another gateway; stop that one or choose another port ({setting})")
        return told.format(port=port, setting=setting)
    if error.errno == errno.EACCES:
        told = _(
            "port {port} needs root or CAP_NET_BIND_SERVICE (AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's "
            "unit); or choose one above 1023 ({setting})"
        )
        return told.format(port=port, setting=setting)
    if error.errno == errno.EADDRNOTAVAIL:
        if setting not in FOR_CLIENTS:
            return _("this machine does not have that address; see `ip address` for those it has")
        told = _(
            "this machine does not have that address; see `ip address` for those it has, or, where it gets it later, "
            "as the backup of a pair does, let it wait: `ogw config set{flags} listen-freebind yes` (or "
            "--listen-freebind yes)"
        )
        return told.format(flags=flags)
    return f"{error.strerror}"
