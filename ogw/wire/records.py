"""TLS as it goes by: the records of one direction, cut anywhere, to messages in order. No I/O, no decrypting."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, Optional, Union

from ogw.wire.protocols import by_first_byte
from ogw.wire.tls import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Malformed,
    MessageKind,
    NotTls,
    OldVersion,
    TooLarge,
)

_RECORD_AND_MESSAGE = Struct(">BBxHBBH").unpack_from  # its type, major version, length; its kind, length in two parts
LARGEST_PLAIN = 1 << 14  # bytes that a record holds (RFC 5246, section 6.2.1)
LARGEST_RECORD = LARGEST_PLAIN + 2048  # encrypted (section 6.2.3)


class Message(NamedTuple):
    """What a direction said.

    type  content type of its record; for HANDSHAKE `kind` is the type of the message and `body` its body, for ALERT
          the body is level and description; the bodies of other records are left out
    """

    type: int
    kind: int
    body: bytes

    @property
    def name(self) -> str:
        """As an error names it."""
        if self.type == HANDSHAKE:
            try:
                return f"a {MessageKind(self.kind).name.lower().replace('_', ' ')}"
            except ValueError:
                return f"a handshake message of type {self.kind}"
        return {ALERT: "an alert", APPLICATION_DATA: "application data"}.get(self.type, "a change of the cipher")


class Reader:
    """Records of one direction to messages, up to its ChangeCipherSpec: what follows in TLS 1.2 is encrypted.

    It holds the bytes as they came, and holds them once: until they are read, and taken. All places are counted from
    the first byte of the stream.

    limit     the largest handshake message, in bytes
    held      what it holds; `bytes` until a second piece comes
    position  where the last record ends that was read and behind which no handshake message is unfinished
    """

    __slots__ = (
        "_at",
        "_begun",
        "_first",
        "_have",
        "_head",
        "_limit",
        "_ready",
        "_skip",
        "_start",
        "_taken",
        "held",
        "position",
    )

    def __init__(self, limit: int = 65536) -> None:
        self._limit = limit
        self.position = 0
        self.held: Union[bytes, bytearray] = b""
        self._start = 0  # where what is held begins
        self._taken = 0  # up to where it was taken
        self._at = 0  # where the first record begins that is not read yet
        self._first = True
        self._ready: list[Message] = []  # those of the last record that were not asked for yet, the last one first
        # The handshake message that is not finished yet, if there is one:
        self._head = b""  # its first bytes, four at the most
        self._have = 0  # how many bytes of it were read
        self._begun = self._skip = 0  # where the record begins that it begins in, and how far behind its header

    @property
    def end(self) -> int:
        """Where what came so far ends."""
        return self._start + len(self.held)

    @property
    def unfinished(self) -> bool:
        """The record of the last message ends in the middle of another one."""
        return bool(self._head)

    def hold(self, data: bytes) -> None:
        """Bytes that came. They are read when the next message is asked for, unless they are only to be taken."""
        if not self.held:
            self.held = data
            return
        if isinstance(self.held, bytes):
            self.held = bytearray(self.held)  # grows in place: a hello may come byte by byte
        self.held += data

    def take(self, until: int) -> bytes:
        """The bytes up to there that were not taken yet. What is not read yet is held on to."""
        if until <= self._taken:
            return b""
        held, start = self.held, self._start
        done = min(until, self._begun if self._head else self._at) - start
        if done == len(held) and self._taken == start and isinstance(held, bytes):
            self._taken, self._start, self.held = until, until, b""  # all of it, as nearly always
            return held
        piece = bytes(memoryview(held)[self._taken - start : until - start])
        self._taken = until
        if done == len(held):
            self.held = b""
        elif isinstance(held, bytearray):
            del held[:done]
        else:
            self.held = held[done:]
        self._start += done
        return piece

    def take_all(self) -> bytes:
        """The bytes that were not taken yet, where nothing is read any more."""
        held, taken = self.held, self._taken - self._start
        self._taken = self._start = self.end
        self.held = b""
        return held if not taken and isinstance(held, bytes) else bytes(memoryview(held)[taken:])

    def let_go(self) -> None:
        """Hold nothing any more. It is the end of the reader."""
        self.held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete, in order; an error comes where it stands, behind those before it.

        Raises as `next_message` does. To be used up, unless nothing is fed any more.
        """
        self.hold(data)
        while (message := self.next_message()) is not None:
            yield message

    def next_message(self) -> Optional[Message]:
        """The next message that is complete; None where more is needed.

        Raises NotTls, OldVersion, Malformed or TooLarge.
        """
        held, begin = self.held, self._at - self._start
        # The short way, for a record that came whole and is filled by one message, as nearly all are. It says the same
        # as the long one for less than half (counted: 8,000 instructions instead of 19,000).
        if isinstance(held, bytes) and not self._head and not self._ready:
            left = len(held) - begin
            if left >= 9:
                kind, major, length, message, high, size = _RECORD_AND_MESSAGE(held, begin)
                if (
                    kind == HANDSHAKE
                    and major == 3
                    and not high
                    and size + 4 == length <= LARGEST_PLAIN
                    and size <= self._limit
                    and length + 5 <= left
                ):
                    end = begin + 5 + length
                    self._first = False
                    self._at = self.position = self._start + end
                    return Message(HANDSHAKE, message, held[begin + 9 : end])
            elif not left:
                return None
        return self._next_of_any()

    def _next_of_any(self) -> Optional[Message]:
        held = self.held
        if self._first and held:
            self._judge_first(held)
        while True:
            if self._ready:
                return self._ready.pop()
            if too_large := self._too_large(self._head):
                raise too_large
            begin = self._at - self._start
            body = begin + 5
            if len(held) < body:
                return None
            kind = held[begin]
            length = held[begin + 3] << 8 | held[begin + 4]
            self._judge_record(kind, held[begin + 1], held[begin + 2], length)
            end = body + length
            if end > len(held):
                if kind == HANDSHAKE and (too_large := self._too_large(self._head + held[body : body + 4])):
                    raise too_large
                return None
            self._first = False
            self._at += 5 + length
            if kind == HANDSHAKE:
                self._ready = self._messages(body, end)
                continue
            if self._head:
                what = "an alert" if kind == ALERT else "another record"
                raise Malformed(f"{what} in the middle of a handshake message")
            self.position = self._at
            return self._other(kind, bytes(held[body:end]) if length <= 2 else b"", length)

    @staticmethod
    def _judge_first(data: Union[bytes, bytearray]) -> None:
        """Say what the very first bytes are, if not TLS, as soon as they say it."""
        first = data[0]
        if first in (HANDSHAKE, ALERT):
            if len(data) > 1 and data[1] != 3:
                raise NotTls("the first bytes are no TLS record")
            return
        if first & 0x80:  # an SSL 2.0 record: two bytes of length, then CLIENT-HELLO
            if len(data) < 3:
                return
            if data[2] == 1:
                raise OldVersion("SSL 2.0")
        raise NotTls(f"the first byte is 0x{first:02x}{_guess(first)}, which begins no TLS record")

    @staticmethod
    def _judge_record(kind: int, major: int, minor: int, length: int) -> None:
        # Which 3.x it is, is to be ignored (RFC 5246, appendix E.1; RFC 8446, section 5.1).
        if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or major != 3:
            raise Malformed(f"a record with the header {kind:02x} {major:02x} {minor:02x}")
        if length > LARGEST_RECORD or (length > LARGEST_PLAIN and kind == HANDSHAKE):
            raise Malformed(f"a record of {length} bytes, more than a record can hold")
        if length == 0 and kind != APPLICATION_DATA:
            raise Malformed("an empty record")

    def _too_large(self, head: Union[bytes, bytearray]) -> Optional[TooLarge]:
        """A message that is too large is refused when its header is here, not when all of it is."""
        if len(head) >= 4:
            length = head[1] << 16 | head[2] << 8 | head[3]
            if length > self._limit:
                return TooLarge(f"a handshake message of {length} bytes, more than {self._limit}")
        return None

    @staticmethod
    def _other(kind: int, body: bytes, length: int) -> Message:
        if kind == ALERT and length != 2:
            raise Malformed(f"an alert of {length} bytes")
        if kind == CHANGE_CIPHER_SPEC and body != b"\1":
            raise Malformed("a change of the cipher that is not the one byte 1")
        return Message(kind, 0, body if kind == ALERT else b"")

    def _messages(self, first: int, stop: int) -> list[Message]:
        """Those that the record completes whose body lies there in what is held, the last one first."""
        size = stop - first
        record = self._at - 5 - size
        data, begin, end = self.held, first, stop
        if self._head:
            self._head = (self._head + data[first : min(first + 4, stop)])[:4]
            self._have += size
            if len(self._head) < 4 or self._have < 4 + int.from_bytes(self._head[1:]) or self._too_large(self._head):
                return []
            data = self._gathered(stop)
            begin, end = 0, len(data)
        messages: list[Message] = []
        while end - begin >= 4:
            length = data[begin + 1] << 16 | data[begin + 2] << 8 | data[begin + 3]
            until = begin + 4 + length
            if until > end or length > self._limit:
                break
            messages.append(Message(HANDSHAKE, data[begin], bytes(data[begin + 4 : until])))
            begin = until
        self._head = bytes(data[begin : min(begin + 4, end)])
        if self._head:
            self._have = end - begin
            self._begun, self._skip = record, size - self._have
        else:
            self.position = self._at
        messages.reverse()
        return messages

    def _gathered(self, stop: int) -> bytes:
        """The bodies of the records that an unfinished message goes over, from its first byte on."""
        held, at = self.held, self._begun - self._start
        bodies = []
        while at < stop:
            end = at + 5 + (held[at + 3] << 8 | held[at + 4])
            bodies.append(held[at + 5 : end])
            at = end
        return b"".join(bodies)[self._skip :]


def _guess(first: int) -> str:
    protocol = by_first_byte(first)
    return f" ({protocol}?)" if protocol else ""
