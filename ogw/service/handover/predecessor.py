"""The predecessor as the successor knows it: what it offers, and, while it drains, what it is asked and told.

A supervisor that was not started by another one has none.
"""

import os
import selectors
import socket
import time
from collections.abc import Callable, Container, Mapping, MutableMapping
from contextlib import suppress
from typing import Optional

from ogw import __version__
from ogw.report.table import Earlier, OtherForm
from ogw.service.control import Channel
from ogw.service.handover.link import Link
from ogw.service.handover.messages import PROTOCOL, Message, Offer, Unable, message_of, packed
from ogw.service.handover.program import CHANNEL, keep_silent
from ogw.service.limits import StartError

OFFER_SECONDS = 10.0  # the offer is there before we are
ORPHANS_SECONDS = 10.0  # after which no process of a predecessor that was killed is left: worker.py, ORPHAN_SECONDS


class Predecessor:
    """Raises StartError where it offers nothing that this version understands.

    offer   what it said first
    doors   its listening sockets
    admin   the sockets of its admin process, by their names in the offer
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._link: Optional[Link] = None
        self.offer = offer = _offer_on(channel)
        if offer.protocol != PROTOCOL:
            raise StartError(
                f"ogw {offer.version} hands over by protocol {offer.protocol}, ogw {__version__} knows {PROTOCOL}: "
                "restart the service instead"
            )
        self.doors = [_inherited(number) for number in offer.doors]
        self.admin = {name: _inherited(number) for name, number in offer.admin.items()}
        for descriptor in offer.tables:
            os.set_inheritable(descriptor, False)

    def tables(self, names: Mapping[str, int], odd: Callable[[str], None]) -> list[Earlier]:
        """What it counts, and what was counted before it. Where that cannot be read each counts for itself.

        odd  told of that
        """
        try:
            return [Earlier(descriptor, names) for descriptor in self.offer.tables]
        except OtherForm as error:
            odd(f"the predecessor counts otherwise ({error}): limits and counters are for each of both")
            return []

    def close_what_is_not_in(self, kept: Container[socket.socket]) -> None:
        """A socket that nobody serves would let clients hang."""
        for sock in (*self.doors, *self.admin.values()):
            if sock not in kept:
                sock.close()

    def watch(
        self, selector: selectors.BaseSelector, heard: Callable[[Message], None], lost: Callable[[], None]
    ) -> None:
        """From now on what it says is heard, and its end noticed."""
        self._link = Link(self._channel, selector, heard, lost)

    def say(self, message: Message) -> None:
        """To one that may be gone; then to nobody."""
        if self._link is not None:
            self._link.say(message)

    @property
    def is_there(self) -> bool:
        return self._link is not None and self._link.is_open

    def leave_behind(self) -> None:
        """In a child."""
        if self._link is not None:
            self._link.close()

    def refuse(self, why: str) -> None:
        """We cannot become its successor after all."""
        refuse(self._channel, why)


def refuse(channel: Optional[Channel], why: str) -> None:
    """Tell whoever started us that we cannot become its successor: it goes on as it was. None: nobody did."""
    if channel is None:
        return
    with suppress(OSError):
        channel.send(packed(Unable(why)))
        channel.finish()


def channel_of(environment: MutableMapping[str, str]) -> Optional[Channel]:
    """The one to the supervisor that started this process as its successor, None for none; it is named once.

    Systemd does not hear this process from then on: the predecessor is its main process yet.
    """
    number = environment.pop(CHANNEL, "")
    if not (number.isascii() and number.isdigit()):
        return None
    try:
        sock = socket.socket(fileno=int(number[:9]))
    except OSError:
        return None
    sock.set_inheritable(False)
    keep_silent(environment)
    return Channel(sock)


def _offer_on(channel: Channel) -> Offer:
    """Raises StartError."""
    until = time.monotonic() + OFFER_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(channel.sock, selectors.EVENT_READ)
        while selector.select(until - time.monotonic()):
            try:
                for fields in channel.receive():
                    if isinstance(offer := message_of(fields), Offer):
                        return offer
            except (EOFError, OSError, ValueError):
                break
    raise StartError("the gateway that started this one as its successor offers nothing")


def _inherited(number: int) -> socket.socket:
    """Raises StartError where it is none to listen on. Whether it listens now does not matter: `Child.close_queue`."""
    try:
        sock = socket.socket(fileno=number)
        if sock.type != socket.SOCK_STREAM:
            raise OSError(0, "it is of another type")
    except OSError as error:
        raise StartError(
            f"descriptor {number} of the predecessor is no socket to go on with: {error.strerror}"
        ) from None
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
