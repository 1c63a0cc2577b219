"""Allowed client certificates: whole subjects, common names, or fingerprints."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from gettext import gettext as _
from typing import NamedTuple

Attribute = tuple[str, str]  # (object identifier, folded value)
Rdn = frozenset[Attribute]

# Names of attributes as RFC 4514, OpenSSL and Windows write them -> object identifiers.
ATTRIBUTES = {
    "CN": "2.5.4.3", "COMMONNAME": "2.5.4.3", "SN": "2.5.4.4", "SURNAME": "2.5.4.4", "SERIALNUMBER": "2.5.4.5",
    "C": "2.5.4.6", "COUNTRYNAME": "2.5.4.6", "L": "2.5.4.7", "LOCALITYNAME": "2.5.4.7", "ST": "2.5.4.8",
    "S": "2.5.4.8", "STATEORPROVINCENAME": "2.5.4.8", "STREET": "2.5.4.9", "STREETADDRESS": "2.5.4.9",
    "O": "2.5.4.10", "ORGANIZATIONNAME": "2.5.4.10", "OU": "2.5.4.11", "ORGANIZATIONALUNITNAME": "2.5.4.11",
    "T": "2.5.4.12", "TITLE": "2.5.4.12", "G": "2.5.4.42", "GN": "2.5.4.42", "GIVENNAME": "2.5.4.42",
    "I": "2.5.4.43", "INITIALS": "2.5.4.43", "DC": "0.9.2342.19200300.100.1.25",
    "DOMAINCOMPONENT": "0.9.2342.19200300.100.1.25", "UID": "0.9.2342.19200300.100.1.1",
    "USERID": "0.9.2342.19200300.100.1.1", "E": "1.2.840.113549.1.9.1", "EMAIL": "1.2.840.113549.1.9.1",
    "EMAILADDRESS": "1.2.840.113549.1.9.1",
}  # fmt: skip
COMMON_NAME = ATTRIBUTES["CN"]
LONGEST_SHOWN = 300

_FINGERPRINT = re.compile(r"sha256:([0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31})\Z")
_OID = re.compile(r"(?:OID\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)\Z", re.IGNORECASE)
_HEX_PAIR = re.compile(r"[0-9a-fA-F]{2}")


class Pattern(NamedTuple):
    """One allowed client certificate: exactly one of the three is set."""

    fingerprint: str = ""
    common_name: str = ""
    subject: frozenset[Rdn] = frozenset()


class Seen(NamedTuple):
    """A certificate that went by: whether a pattern matches it, and its subject as a log line may show it."""

    allowed: bool
    subject: str


def parse_pattern(text: str) -> Pattern:
    """A pattern from its text. Raises ValueError with a sentence on what is wrong and right."""
    text = text.strip()
    if text.lower().startswith("sha256:"):
        match = _FINGERPRINT.match("sha256:" + text[7:])
        if match is None:
            raise ValueError(_("is not sha256: and 64 hexadecimal digits"))
        return Pattern(fingerprint=match[1].replace(":", "").lower())
    if "=" not in text:
        if not text:
            raise ValueError(_("is empty; a subject such as CN=till-7,O=Example, or one common name"))
        return Pattern(common_name=_fold(text))
    return Pattern(subject=parse_subject(text))


def parse_subject(text: str) -> frozenset[Rdn]:
    """The RDNs of a subject as RFC 4514, OpenSSL (also /CN=a/O=b) or Windows writes it. Raises ValueError."""
    separators = "/" if text[:1] == "/" else ",;"
    rdns: list[set[Attribute]] = [set()]
    for name, value, end in _attributes(text.removeprefix("/"), separators):
        oid = _OID.match(name)
        number = oid[1] if oid is not None else ATTRIBUTES.get(name.upper())
        if number is None:
            raise ValueError(
                _("has the unknown attribute {name}; known are CN, O, OU, L, ST, C, E and others, or an OID").format(
                    name=ascii(name)
                )
            )
        rdns[-1].add((number, _fold(value)))
        if end != "+":
            rdns.append(set())
    return frozenset(frozenset(rdn) for rdn in rdns if rdn)


def _attributes(text: str, separators: str) -> Iterator[tuple[str, str, str]]:
    """(name, value, what ended it) of each attribute."""
    at = 0
    while at < len(text):
        equals = text.find("=", at)
        if equals < 0:
            raise ValueError(_("has a part without =; a comma in a value is written \\, or the value in quotes"))
        name = text[at:equals].strip()
        value, at = _value(text, equals + 1, separators + "+")
        end = text[at] if at < len(text) else ""
        at += 1
        if end and not text[at:].strip():
            raise ValueError(_("ends with a separator"))
        yield name, value, end


def _value(text: str, at: int, stops: str) -> tuple[str, int]:
    """The value that begins at `at`, its escapes undone, and where what stopped it stands (RFC 4514, section 2.4)."""
    while text[at : at + 1] == " ":
        at += 1
    raw = bytearray()
    quoted = text[at : at + 1] == '"'
    at += quoted
    kept = 0  # up to here trailing spaces were escaped or inside quotes
    while at < len(text):
        char = text[at]
        if char == "\\":
            pair = _HEX_PAIR.match(text, at + 1)
            raw += bytes.fromhex(pair[0]) if pair else text[at + 1 : at + 2].encode()
            at += 3 if pair else 2
            kept = len(raw)
        elif quoted and char == '"':
            quoted = False
            kept = len(raw)
            at += 1
        elif not quoted and char in stops:
            break
        else:
            raw += char.encode("utf-8", "surrogateescape")
            at += 1
    if quoted:
        raise ValueError(_("has a quote that is not closed"))
    kept = max(kept, len(bytes(raw).rstrip(b" ")))
    try:
        return raw[:kept].decode(), at
    except UnicodeDecodeError:
        raise ValueError(_("has escapes that are not UTF-8")) from None


def _fold(value: str) -> str:
    """As names are compared (RFC 4518, in short): without case, and white space as one space."""
    return " ".join(value.casefold().split())


class Subjects:
    """The allowed client certificates. Reading one needs the cryptography package, which is imported here and now."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        from cryptography import x509  # takes 100 ms: before the first client, not at it

        self._load = x509.load_der_x509_certificate
        self._fingerprints = {pattern.fingerprint for pattern in patterns if pattern.fingerprint}
        self._names = {pattern.common_name for pattern in patterns if pattern.common_name}
        self._subjects = {pattern.subject for pattern in patterns if pattern.subject}

    def texts(self) -> list[str]:
        """All patterns, in an order of their own."""
        subjects = (repr(sorted(map(sorted, subject))) for subject in self._subjects)
        return [*sorted(self._fingerprints), *sorted(self._names), *sorted(subjects)]

    def judge(self, der: bytes) -> Seen:
        """Does a pattern match this certificate? Raises ValueError where it cannot be read."""
        subject = self._load(der).subject
        rdns = frozenset(
            frozenset((attribute.oid.dotted_string, _fold(_text(attribute.value))) for attribute in rdn)
            for rdn in subject.rdns
        )
        names = {value for rdn in rdns for oid, value in rdn if oid == COMMON_NAME}
        allowed = (
            hashlib.sha256(der).hexdigest() in self._fingerprints
            or not names.isdisjoint(self._names)
            or rdns in self._subjects
        )
        return Seen(allowed, shown(subject.rfc4514_string()))


def _text(value: "str | bytes") -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def shown(subject: str) -> str:
    """A subject as a log line may show it: printable, and cut to a length."""
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in subject)
    return printable if len(printable) <= LONGEST_SHOWN else f"{printable[:LONGEST_SHOWN]}..."
