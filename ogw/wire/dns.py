"""What DNS servers are asked, and what they say (RFC 1035): a question to bytes, and bytes to an answer.

Mostly there is no OPT record (EDNS): home routers and old servers drop or refuse what carries one, and libc sends none
either. What does not fit into the 512 bytes without it is asked for again over TCP.
"""

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple, Optional

A, CNAME, SOA, AAAA = 1, 5, 6, 28
INTERNET = 1  # the class
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
LAME = 16  # no code of theirs: it knows nothing itself and asks nobody else, which says nothing about the name
CODES = {
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    LAME: "nothing, and asks no other server",
}
HEAD = 12  # bytes
DATAGRAM = 1232  # bytes that pass everywhere in one piece
LONGEST_NAME = 255  # bytes on the wire
MOST_POINTERS = 127  # in one name
MOST_ALIASES = 16  # CNAME records from the name that was asked for to the one with addresses
_RECURSION_DESIRED, _AUTHORITATIVE, _ASKS_OTHERS = 0x0100, 0x0400, 0x0080
_OPT = struct.pack("!BHHIH", 0, 41, DATAGRAM, 0, 0)  # RFC 6891, section 6.1.2
_LENGTHS = [bytes((length,)) for length in range(64)]
_FORMS = {A: (AF_INET, 4), AAAA: (AF_INET6, 16)}
# 0x20 for each letter, which is the bit that makes it small or capital. No length of a label is a letter.
_CASE_BITS = bytes(0x20 if 65 <= byte & ~0x20 <= 90 else 0 for byte in range(256))


class BadAnswer(Exception):
    """It answers the question, but it cannot be read; the sentence says why."""


class NotTheAnswer(Exception):
    """It does not answer this question."""


class OtherCase(NotTheAnswer):
    """It answers this question but for small and capital letters."""


class Answer(NamedTuple):
    """What a server says.

    code       the response code, or LAME
    truncated  there is more than fits
    addresses  IP texts, each once, in the server's order
    seconds    for how long that holds, or for how long there is nothing (RFC 2308); None where nothing says it
    """

    code: int
    truncated: bool
    addresses: list[str]
    seconds: Optional[int]


def question_section(name: str, kind: int, entropy: bytes = b"") -> bytes:
    """The question for a canonical name; letters are small or capital as the bits of `entropy` say ("0x20").

    A forged answer has to guess them, too. `entropy` is longer than the name; b"": all are small, and an answer may
    have them as it likes.
    """
    labels = b"".join([_LENGTHS[len(label)] + label for label in name.encode("ascii").split(b".")]) + b"\0"
    if entropy:
        bits = int.from_bytes(labels.translate(_CASE_BITS)) & int.from_bytes(entropy[: len(labels) - 1])
        labels = (int.from_bytes(labels) ^ bits).to_bytes(len(labels))
    return labels + struct.pack("!HH", kind, INTERNET)


def query(number: int, question: bytes, edns: bool = False) -> bytes:
    """The message that asks it; with `edns` the answer may have DATAGRAM bytes."""
    if edns:
        return struct.pack("!HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 1) + question + _OPT
    return struct.pack("!HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 0) + question


def read_answer(data: bytes, question: bytes) -> Answer:
    """What a message says to a question. Its number is the caller's to compare.

    Only what leads from the name that was asked for to its addresses is looked at. Raises BadAnswer, NotTheAnswer,
    OtherCase. The work grows with the length of the message and no faster.
    """
    if len(data) < HEAD:
        raise NotTheAnswer
    _number, flags, questions, answers, authorities, additional = struct.unpack_from("!HHHHHH", data)
    code = flags & 15
    if not flags & 0x8000 or flags & 0x7800:
        raise NotTheAnswer
    if not questions and code not in (NOERROR, NXDOMAIN) and len(data) == HEAD:
        return Answer(code, False, [], None)  # an old server that did not understand the question
    end = HEAD + len(question)
    echoed = data[HEAD:end]
    if questions != 1 or echoed.lower() != question.lower():
        raise NotTheAnswer
    if echoed != question and question != question.lower():
        raise OtherCase
    if code == NOERROR and not answers and not additional and not flags & (_AUTHORITATIVE | _ASKS_OTHERS):
        return Answer(LAME, False, [], None)
    truncated = bool(flags & 0x0200)
    try:
        records = _Records(data, question, answers, authorities)
    except (IndexError, struct.error):
        records = None
    except BadAnswer:
        if not truncated:
            raise
        records = None
    if records is None:
        if not truncated:
            raise BadAnswer("it ends in the middle of a record")
        return Answer(code, True, [], None)  # cut wherever it was full
    addresses, seconds = records.follow()
    if code == NXDOMAIN:
        addresses = []
    return Answer(code, truncated, addresses, seconds if addresses else records.nothing_for())


class _Records:
    """The records of a message that can matter for its question; names are in their wire form, in small letters."""

    def __init__(self, data: bytes, question: bytes, answers: int, authorities: int) -> None:
        self._data = data
        self._names: dict[int, bytes] = {HEAD: question[:-4].lower()}  # where a pointer leads -> the name there
        self._name = self._names[HEAD]
        (self._kind,) = struct.unpack("!H", question[-4:-2])
        self._addresses: dict[bytes, dict[str, int]] = {}  # owner -> address -> TTL
        self._aliases: dict[bytes, tuple[bytes, int]] = {}  # owner -> the other name, TTL
        self._ends: dict[bytes, int] = {}  # zone -> for how long it says that there is nothing
        self._seconds = (1 << 31) - 1  # for how long the aliases hold that were followed
        position = HEAD + len(question)
        for number in range(answers + authorities):
            owner, position = self._read_name(position)
            kind, of_class, seconds, size = struct.unpack_from("!HHIH", data, position)
            position += 10
            end = position + size
            if end > len(data):
                raise BadAnswer("a record is longer than the message")
            if of_class == INTERNET:
                in_answer = number < answers
                self._take(owner, kind, seconds if seconds < 1 << 31 else 0, position, end, in_answer)
            position = end

    def _take(self, owner: bytes, kind: int, seconds: int, position: int, end: int, in_answer: bool) -> None:
        if kind == self._kind and in_answer:
            family, size = _FORMS[kind]
            if end - position != size:
                raise BadAnswer("an address has the wrong length")
            self._addresses.setdefault(owner, {}).setdefault(inet_ntop(family, self._data[position:end]), seconds)
        elif kind == CNAME and in_answer:
            other, _end = self._read_name(position)
            self._aliases.setdefault(owner, (other, seconds))
        elif kind == SOA:
            _server, after = self._read_name(position)
            _person, after = self._read_name(after)
            if after + 20 != end:
                raise BadAnswer("an SOA record has the wrong length")
            (minimum,) = struct.unpack_from("!I", self._data, after + 16)
            self._ends[owner] = min(seconds, minimum)

    def follow(self) -> tuple[list[str], int]:
        """Go along the aliases; the addresses at their end, and for how long all of that holds."""
        for _turn in range(MOST_ALIASES + 1):
            addresses = self._addresses.get(self._name)
            if addresses:
                return list(addresses), min(self._seconds, *addresses.values())
            alias = self._aliases.get(self._name)
            if alias is None:
                return [], 0
            self._name, self._seconds = alias[0], min(self._seconds, alias[1])
        raise BadAnswer("its aliases have no end")

    def nothing_for(self) -> Optional[int]:
        """For how long there is nothing at the end of the aliases, if a zone around that name says so."""
        seconds = [seconds for zone, seconds in self._ends.items() if _is_within(self._name, zone)]
        return min(self._seconds, *seconds) if seconds else None

    def _read_name(self, position: int) -> tuple[bytes, int]:
        """The name that begins there, and where what follows it begins."""
        data, known = self._data, self._names
        parts: list[bytes] = []
        size, end, pointers, first = 0, 0, 0, -1
        while True:
            length = data[position]
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | data[position + 1]
                end = end or position + 2
                if target in known:
                    parts.append(known[target])
                    break
                pointers += 1
                if target >= position or pointers > MOST_POINTERS:
                    raise BadAnswer("a name has no end")
                if first < 0:
                    first, before = target, len(parts)
                position = target
            elif length > 63:
                raise BadAnswer("a label is neither a label nor a pointer")
            else:
                position += 1 + length
                label = data[position - 1 - length : position]
                if len(label) <= length:
                    raise IndexError
                size += 1 + length
                if size > LONGEST_NAME:
                    raise BadAnswer("a name is too long")
                parts.append(label.lower())
                if not length:
                    end = end or position
                    break
        if first >= 0:
            known[first] = b"".join(parts[before:])
        name = b"".join(parts)
        if len(name) > LONGEST_NAME:
            raise BadAnswer("a name is too long")
        return name, end


def _is_within(name: bytes, zone: bytes) -> bool:
    """Whether a name is a zone's own or below it; both in their wire form."""
    while len(name) > len(zone):
        name = name[1 + name[0] :]
    return name == zone
