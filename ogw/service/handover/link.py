"""The channel between a supervisor and its successor, watched by the selector of either."""

import selectors
from collections.abc import Callable
from contextlib import suppress

from ogw.service.control import Channel, MessageTooLarge
from ogw.service.handover.messages import Message, message_of, packed


class Link:
    """One end. What goes wrong with it is its end, and told once.

    heard  called with what the other says
    lost   called when the other is gone, or makes no sense any more
    """

    def __init__(
        self,
        channel: Channel,
        selector: selectors.BaseSelector,
        heard: Callable[[Message], None],
        lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._selector = selector
        self._heard = heard
        self._lost = lost
        self.is_open = True
        selector.register(channel.sock, selectors.EVENT_READ, self._happened)

    def say(self, message: Message) -> None:
        """To one that may be gone; then to nobody. Raises MessageTooLarge."""
        if not self.is_open:
            return
        try:
            self._channel.send(packed(message))
            self._watch()
        except OSError:
            self._end()

    def listen(self) -> None:
        """Hear what is unread."""
        if self.is_open:
            self._happened(selectors.EVENT_READ)

    def finish(self) -> None:
        """Wait until the other took all of it, but not for long."""
        with suppress(OSError):
            self._channel.finish()

    def close(self) -> None:
        """Also in a child, which has nothing to do with it; there the selector is closed by then."""
        self.is_open = False
        with suppress(KeyError, ValueError, RuntimeError):
            self._selector.unregister(self._channel.sock)
        self._channel.close()

    def _watch(self) -> None:
        """Raises OSError."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._channel.wants_write else 0)
        if self._selector.get_key(self._channel.sock).events != events:
            self._selector.modify(self._channel.sock, events, self._happened)

    def _happened(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._channel.flush()
                self._watch()
            if mask & selectors.EVENT_READ:
                self._hear()
        except (EOFError, OSError, ValueError, MessageTooLarge):
            self._end()

    def _hear(self) -> None:
        for fields in self._channel.receive():
            message = message_of(fields)
            if message is not None:
                self._heard(message)
            if not self.is_open:
                return

    def _end(self) -> None:
        if self.is_open:
            self.close()
            self._lost()
