"""Where the admin process is asked: TCP sockets for metrics and for health, and a unix socket for the commands."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Optional

from ogw.service.listener import ListenError, listen, place_of
from ogw.settings import run_dir
from ogw.settings.settings import Config


@dataclass
class Sockets:
    """Those that could be opened.

    tcp       admin-address: metrics, health, and with admin-page what the page shows
    health    health-address: nothing but health and readiness
    unix      admin.sock in run-dir: everything, and orders
    path      of that one, "" for none
    warnings  about those that could not be opened
    is_ours   the path is to go with us, since no other gateway has it
    """

    tcp: Optional[socket.socket] = None
    health: Optional[socket.socket] = None
    unix: Optional[socket.socket] = None
    path: str = ""
    warnings: list[str] = field(default_factory=list)
    is_ours: bool = True

    @property
    def all(self) -> list[socket.socket]:
        return [sock for sock in (self.tcp, self.health, self.unix) if sock is not None]

    @property
    def place(self) -> str:
        """Where metrics are asked for, "" for nowhere."""
        return place_of(self.tcp) if self.tcp is not None else ""

    @property
    def health_place(self) -> str:
        """Where nothing but health and readiness is asked for, "" for nowhere."""
        return place_of(self.health) if self.health is not None else ""

    def close(self) -> None:
        """For the supervisor, at its end."""
        for sock in self.all:
            sock.close()
        if self.path and self.is_ours:
            try:
                os.unlink(self.path)
            except OSError:
                pass  # somebody was faster

    @property
    def named(self) -> dict[str, socket.socket]:
        """Those that there are, for a successor."""
        known = {"tcp": self.tcp, "health": self.health, "unix": self.unix}
        return {name: sock for name, sock in known.items() if sock is not None}


def _listen(place: tuple[str, int], setting: str) -> socket.socket:
    return listen(*place, 0, alone=True, setting=setting)


def open_sockets(config: Config, given: Mapping[str, socket.socket] = MappingProxyType({}), path: str = "") -> Sockets:
    """Raises ListenError. What nobody asked for is a warning where it cannot be had: the gateway serves without it.

    given  the predecessor's, by their names; those that listen where one is wanted are taken
    path   where the local one of them was opened
    """
    sockets = Sockets()
    if config.admin_address is not None:
        try:
            sockets.tcp = _at(config.admin_address, given.values()) or _listen(config.admin_address, "admin-address")
        except ListenError as error:
            if not config.is_default("admin-address"):
                raise ListenError(f"admin-address: {error}") from None
            sockets.warnings.append(f"admin-address: {error}; going on without metrics")
    if config.health_address is not None:
        try:
            sockets.health = _at(config.health_address, given.values()) or _listen(
                config.health_address, "health-address"
            )
        except ListenError as error:
            sockets.close()
            raise ListenError(f"health-address: {error}") from None
    folder = config.run_dir or run_dir.default_run_dirs(os.environ)[0]
    if "unix" in given and path == os.path.join(folder, run_dir.SOCKET) and _is_listened_at(path):
        sockets.unix, sockets.path = given["unix"], path
        return sockets
    try:
        _open_unix(sockets, folder)
    except OSError as error:
        told = f"run-dir: {folder}: {error.strerror or error}"
        if not config.is_default("run-dir"):
            sockets.close()
            raise ListenError(told) from None
        sockets.warnings.append(f"{told}; going on without the socket that commands such as ogw status ask")
    return sockets


def _at(address: tuple[str, int], given: Iterable[socket.socket]) -> Optional[socket.socket]:
    """The one that listens there already."""
    return next((sock for sock in given if sock.getsockname()[:2] == address), None)


def _is_listened_at(path: str) -> bool:
    """A socket does not notice that its file was removed, or the folder, and nobody who looks there finds it then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex(path) in (0, errno.EAGAIN)  # the queue of a busy one may be full


def _open_unix(sockets: Sockets, folder: str) -> None:
    run_dir.make(folder)
    path = os.path.join(folder, run_dir.SOCKET)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sock.connect_ex(path) == 0:
            raise OSError(0, "another gateway uses it; give this one a run-dir of its own")
        if os.path.lexists(path):  # a link that leads nowhere, too: nothing could be bound to it
            os.unlink(path)  # nobody listens there any more
        sock.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        os.chmod(path, 0o660)
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    sockets.unix, sockets.path = sock, path
