"""Whose keys a Kerberos keytab has. The keys are passed by."""

import struct

from ogw.language.messages import gettext as _

LARGEST = 1 << 20  # bytes of a file
_VERSION = b"\x05\x02"


def principals(data: bytes) -> set[str]:
    """Their names, NAME@REALM each (MIT Kerberos: the keytab file format). Raises ValueError where it is no keytab."""
    if not data.startswith(_VERSION):
        raise ValueError(_("it is no keytab"))
    found: set[str] = set()
    at = len(_VERSION)
    try:
        while at < len(data):
            (size,) = struct.unpack_from(">i", data, at)
            at += 4
            if size > 0:
                if at + size > len(data):
                    raise ValueError(_("it is cut short"))
                found.add(_principal(data[at : at + size]))
            elif size == 0:
                break
            at += abs(size)  # a negative one is a hole where an entry was
    except struct.error:
        raise ValueError(_("it is cut short")) from None
    return found


def _principal(entry: bytes) -> str:
    (count,) = struct.unpack_from(">H", entry)
    parts, at = [], 2
    for _number in range(count + 1):  # the realm is first
        (size,) = struct.unpack_from(">H", entry, at)
        parts.append(entry[at + 2 : at + 2 + size].decode("utf-8", "replace"))
        at += 2 + size
    return "/".join(parts[1:]) + "@" + parts[0]


def has(found: set[str], principal: str) -> bool:
    """Whether one of them is meant; one without a realm is of any."""
    return principal in found or principal in {name.rpartition("@")[0] for name in found}
