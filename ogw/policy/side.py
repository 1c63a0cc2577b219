"""One direction of a handshake that goes by: what of it is held, and what may pass."""

from ogw.policy.decision import Reason
from ogw.wire.records import Reader
from ogw.wire.tls import Malformed


class Side(Reader):
    """One direction: a reader, which holds its bytes, that knows up to where in the stream they may go on."""

    __slots__ = ("ending", "name", "passed")

    def __init__(self, name: str, ending: Reason, limit: int) -> None:
        Reader.__init__(self, limit)
        self.name = name
        self.ending = ending
        self.passed = 0

    @property
    def kept(self) -> int:
        """How many bytes may not go on yet."""
        return self.end - self.passed

    def pass_to_here(self) -> None:
        """The last message is accepted: it passes, and with it the whole records up to where none is unfinished."""
        self.passed = self.position

    def end_turn(self) -> None:
        """The last message is accepted, and it is the other side's turn. Raises Malformed if its record goes on."""
        if self.unfinished:
            raise Malformed("more of a handshake behind the message that ends its turn, in the same record")
        self.passed = self.position
