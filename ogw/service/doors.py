"""The sockets that a gateway listens on: opened at its start, or handed over by its predecessor."""

import socket
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ogw.service.admin.sockets import Sockets, open_sockets
from ogw.service.handover.predecessor import Predecessor
from ogw.service.listener import listen_everywhere
from ogw.settings.settings import Config


class Doors(NamedTuple):
    """
    workers  of each worker slot
    admin    of the admin process
    """

    workers: list[list[socket.socket]]
    admin: Sockets

    @property
    def all(self) -> list[socket.socket]:
        return [*(sock for own in self.workers for sock in own), *self.admin.all]

    @property
    def places(self) -> list[tuple[str, int]]:
        """Where the whole gateway listens: (IP text, port)."""
        return sorted({sock.getsockname()[:2] for sock in self.all if sock.family != socket.AF_UNIX})


def doors_of(config: Config, slots: int, left: Sequence[socket.socket], predecessor: Optional[Predecessor]) -> Doors:
    """Of so many worker slots. Raises ListenError.

    left  listening sockets of one that died
    """
    if predecessor is None:
        return Doors(listen_everywhere(config, slots, left), open_sockets(config))
    workers = listen_everywhere(config, slots, predecessor.doors, later=True)
    doors = Doors(workers, open_sockets(config, predecessor.admin, predecessor.offer.path))
    predecessor.close_what_is_not_in(doors.all)
    return doors
