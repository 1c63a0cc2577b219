"""Lines that the runtimes of containers cut in pieces when they are long, in one piece again.

CRI (Kubernetes) says P for a piece and F for the last one; Docker cuts after 16 KiB, and only the last has a line end.
"""

import re
from collections.abc import Iterable, Iterator

TORN = b'{"event"'  # what is read as a line of ours that cannot be
_CRI = re.compile(rb"[0-9T:.+Z-]{20,40} (stdout|stderr) ([PF])(?::[^ ]*)? ")
DOCKER_CUTS = 16384  # bytes; escapes make more of them
_DOCKER = re.compile(rb'\{"log":"((?:[^"\\]|\\.)*)"(,"stream":"(stdout|stderr)".*)', re.DOTALL)


def joined(lines: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """The lines, each whole; the two streams may take turns. One that becomes longer than that is TORN."""
    begun: dict[bytes, bytes] = {}
    for line in lines:
        stream, text, more = _piece(line, begun)
        if stream:
            text = begun.pop(stream, b"") + text
            if more:
                begun[stream] = text if len(text) <= longest else TORN
                continue
        yield text if len(text) <= longest else TORN
    yield from begun.values()


def _piece(line: bytes, begun: dict[bytes, bytes]) -> tuple[bytes, bytes, bool]:
    """(its stream, what of it is to be joined, whether more follows); no stream where it is a line by itself."""
    if cri := _CRI.match(line):
        stream, more = cri[1], cri[2] == b"P"
        if more or stream in begun:
            text = line[cri.end() :] if stream in begun else line
            return stream, text.rstrip(b"\r\n") if more else text, more
    elif docker := (begun or len(line) > DOCKER_CUTS) and _DOCKER.match(line):
        stream, more = docker[3], len(docker[1]) >= DOCKER_CUTS and not docker[1].endswith(rb"\n")
        if more or stream in begun:
            text = docker[1] if stream in begun else b'{"log":"' + docker[1]
            return stream, text if more else text + b'"' + docker[2], more
    return b"", line, False
