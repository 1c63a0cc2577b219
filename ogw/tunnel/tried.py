"""Which credentials were tried at relay proxies, and what came of it, as all workers know it together. No gevent here.

Domains lock accounts: what was refused is not sent again, and what nobody knows yet is tried by one tunnel at a time.
"""

import fcntl
import hashlib
import mmap
import os
import tempfile
from typing import Optional

PLACES = 1024
NEAR = 32  # places from its own on where a name may stand; where others have them all, one of them is forgotten
NAME = 16  # bytes of the keyed hash that stands there instead of credentials
_SIZE = 32  # of a place: the name, and what is known
UNKNOWN, WORKED, REFUSED = 0, 1, 2


class WasRefused(Exception):
    """They are not to be sent again, until the operator changes them or reloads."""


class Tried:
    """Made before the fork; all processes see the same memory from then on."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        # Who tries something locks its place in a file: if the process dies meanwhile, the kernel lets another try.
        self._file = _memory_file()
        os.ftruncate(self._file, PLACES * _SIZE)
        self._memory = mmap.mmap(self._file, PLACES * _SIZE)
        self._trying: set[int] = set()  # places that this process has locked

    def begin(self, identity: bytes) -> "Optional[Turn]":
        """The turn to send these; None while another tries them. Raises WasRefused.

        identity  the credentials and what they are for; b"" for what cannot be refused
        """
        if not identity:
            return Turn(self, -1, b"", holds=False)
        name = hashlib.blake2b(identity, key=self._key, digest_size=NAME).digest()
        place = self._place_of(name)
        known = self.known(place, name)
        if known == UNKNOWN:
            if place in self._trying or not self._lock(place):
                return None
            if self._place_of(name) != place:  # it has become another's just now
                self._unlock(place)
                return None
            known = self.known(place, name)  # it may have been found out just now
            if known == UNKNOWN:
                self._trying.add(place)
                return Turn(self, place, name, holds=True)
            self._unlock(place)
        if known == REFUSED:
            raise WasRefused
        return Turn(self, place, name, holds=False)

    def forget_refusals(self) -> None:
        """The operator wants what was refused to be tried once more."""
        for end in range(NAME, PLACES * _SIZE, _SIZE):
            if self._memory[end] == REFUSED:
                self._memory[end] = UNKNOWN

    def known(self, place: int, name: bytes) -> int:
        """What is known of the credentials with this hash."""
        begin = place * _SIZE
        entry = self._memory[begin : begin + NAME + 1]
        return entry[NAME] if entry[:NAME] == name else UNKNOWN

    def note(self, place: int, name: bytes, known: int) -> None:
        begin = place * _SIZE
        self._memory[begin : begin + NAME + 1] = name + bytes((known,))

    def release(self, place: int) -> None:
        self._trying.discard(place)
        self._unlock(place)

    def _place_of(self, name: bytes) -> int:
        """Where it stands, or would: the first place from its own on that is no other's."""
        own = int.from_bytes(name[:2], "big") % PLACES
        for place in range(own, own + NEAR):
            begin = place % PLACES * _SIZE
            stands = self._memory[begin : begin + NAME]
            if stands == name or not any(stands):
                return place % PLACES
        return own

    def _lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def _unlock(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)


class Turn:
    """The turn of one tunnel to send credentials; it must be ended."""

    def __init__(self, tried: Tried, place: int, name: bytes, holds: bool) -> None:
        self._tried = tried
        self._place = place
        self._name = name
        self._tries = holds  # nobody knew what they are worth
        self._holds = holds  # nobody else may send them meanwhile

    def worked(self) -> None:
        # Who sends what worked before says nothing new, and who has let others try may be overtaken by a refusal: what
        # it sent may have been good then.
        if self._holds or (self._tries and self._tried.known(self._place, self._name) != REFUSED):
            self._note(WORKED)

    def refused(self) -> None:
        self._note(REFUSED)

    def doubted(self) -> None:
        """They worked, and now one cannot tell: let one tunnel find it out."""
        if self._name and self._tried.known(self._place, self._name) == WORKED:
            self._note(UNKNOWN)

    @property
    def is_alone(self) -> bool:
        """No other tunnel, of any worker, sends these meanwhile."""
        return self._holds

    def end(self) -> None:
        if self._holds:
            self._holds = False
            self._tried.release(self._place)

    def _note(self, known: int) -> None:
        if self._name and self._tried.known(self._place, self._name) != known:
            self._tried.note(self._place, self._name, known)


def _memory_file() -> int:
    """A descriptor of a file that has no name."""
    try:
        return os.memfd_create("ogw tried")
    except OSError:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
