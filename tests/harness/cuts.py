"""The same bytes, cut in every way: what a parser that reads piece by piece is held to."""

from collections.abc import Callable, Iterable
from typing import Any


def outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    """What `read` makes of the bytes so far: its value, None for "need more", or the kind and text of its error."""
    try:
        return read(data)
    except Exception as error:
        if type(error).__module__.split(".")[0] != "ogw":
            raise
        return type(error), str(error)


def every_way(read: Callable[[bytes], Any], data: bytes) -> Any:
    """Feed every prefix of `data`, as a reader does that gathers pieces cut anywhere.

    A prefix is "need more" until one gives the verdict; every longer one must give the same (a value may gain `rest`).
    Returns what the whole gives.
    """
    whole = outcome(read, data)
    settled = False
    for size in range(len(data) + 1):
        seen = outcome(read, data[:size])
        if seen is None:
            assert not settled, f"a verdict after {size - 1} bytes was taken back after {size}"
            continue
        settled = True
        assert _without_rest(seen) == _without_rest(whole), f"another verdict after {size} bytes"
        if hasattr(seen, "rest"):
            assert whole.rest.startswith(seen.rest)
    assert settled or whole is None
    return whole


def piecewise(reader: Any, pieces: Iterable[bytes]) -> Any:
    """What a reader says of these pieces: (value, rest), None for "need more", or kind and text of its error."""
    for piece in pieces:
        try:
            value = reader.feed(piece)
        except Exception as error:
            return type(error), str(error)
        if value is not None:
            return value._replace(rest=b""), value.rest
    return None


def _without_rest(verdict: Any) -> Any:
    return verdict._replace(rest=b"") if hasattr(verdict, "rest") else verdict
