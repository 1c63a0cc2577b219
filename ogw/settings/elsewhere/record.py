"""What is remembered of a URL's list beside its copies: the serials that were seen, and what was rolled back."""

import json
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Optional

from ogw.machine.files import read_file
from ogw.settings.elsewhere.copies import place_of, seconds
from ogw.settings.files import replace

SUFFIX = ".record"
LARGEST = 1 << 14  # bytes
MOST_KEYS = 32  # whose serials are remembered
LONGEST_BY = 200  # characters
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Seen(NamedTuple):
    """The highest serial of a key, and the content that it stood for."""

    serial: int
    sha256: str


class Held(NamedTuple):
    """What was rolled back: this content is not taken again.

    since  Unix seconds
    by     who wanted that
    """

    sha256: str
    since: float
    by: str


class Record(NamedTuple):
    """
    serials  by the word of the key, each with its own: what a key signed that is trusted no more bars nobody's way
    held     None where nothing is rolled back
    """

    serials: Mapping[str, Seen] = {}
    held: Optional[Held] = None

    def highest(self, keys: Collection[str]) -> Optional[Seen]:
        """Of these keys."""
        return max((seen for key, seen in self.serials.items() if key in keys), default=None)

    def with_serial(self, key: str, serial: int, sha256: str) -> "Record":
        """The same with what a key signed, if that is its highest."""
        known = self.serials.get(key)
        if known is not None and known.serial >= serial:
            return self
        others = {one: seen for one, seen in self.serials.items() if one != key}
        kept = dict(list(others.items())[-(MOST_KEYS - 1) :])
        return self._replace(serials={**kept, key: Seen(serial, sha256)})


def read_record(state_dir: str, url: str) -> Record:
    """An empty one where there is none, or none that can be read: it must not stop a gateway; the copy has a serial."""
    try:
        told = json.loads(read_file(place_of(state_dir, url, SUFFIX), LARGEST))
        serials = {key: Seen(_whole(serial), _sha256(sha256)) for key, (serial, sha256) in told["serials"].items()}
        held = told["held"] and Held(_sha256(told["held"][0]), seconds(told["held"][1]), str(told["held"][2]))
        return Record(serials, held or None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        return Record()


def write_record(state_dir: str, url: str, record: Record) -> None:
    """In one step, for the owner of the copies alone. Raises OSError."""
    place = place_of(state_dir, url)
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    held = record.held and record.held._replace(by=record.held.by[:LONGEST_BY])
    data = json.dumps({"serials": record.serials, "held": held}).encode()
    replace(place + SUFFIX, data, mode=0o600, most=0o600, like=place)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _sha256(value: Any) -> str:
    if not _SHA256.match(value):
        raise ValueError
    return str(value)
