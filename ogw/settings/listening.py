"""Whether an address can be listened on here, by this user; whether it is free this moment is the doctor's question."""

import errno
import socket
from gettext import gettext as _

NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def require_bindable(host: str, port: int) -> None:
    """Raise OSError where no gateway of this user could listen; what is in use could be listened on, and is let be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def advice(error: OSError, port: int) -> str:
    """Why an address cannot be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return _(
            "port {port} is in use, perhaps by another gateway; stop that one or choose another listen-port"
        ).format(port=port)
    if error.errno == errno.EACCES:
        told = _(
            "port {port} needs root or CAP_NET_BIND_SERVICE (AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's "
            "unit); or choose a listen-port above 1023"
        )
        return told.format(port=port)
    if error.errno == errno.EADDRNOTAVAIL:
        return _("this machine does not have that address; see `ip address` for those it has")
    return f"{error.strerror}"
