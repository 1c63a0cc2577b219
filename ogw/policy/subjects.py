"""Allowed client certificates: whole subjects, common names, or fingerprints."""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ogw.language.messages import gettext as _

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
    "EMAILADDRESS": "1.2.840.113549.1.9.1", "DESCRIPTION": "2.5.4.13", "BUSINESSCATEGORY": "2.5.4.15",
    "POSTALADDRESS": "2.5.4.16", "POSTALCODE": "2.5.4.17", "POBOX": "2.5.4.18", "POSTOFFICEBOX": "2.5.4.18",
    "PHONE": "2.5.4.20", "TELEPHONENUMBER": "2.5.4.20", "NAME": "2.5.4.41", "GENERATIONQUALIFIER": "2.5.4.44",
    "X500UNIQUEIDENTIFIER": "2.5.4.45", "DNQ": "2.5.4.46", "DNQUALIFIER": "2.5.4.46", "PSEUDONYM": "2.5.4.65",
    "ORGANIZATIONIDENTIFIER": "2.5.4.97", "UNSTRUCTUREDNAME": "1.2.840.113549.1.9.2",
    "UNSTRUCTUREDADDRESS": "1.2.840.113549.1.9.8", "JURISDICTIONL": "1.3.6.1.4.1.311.60.2.1.1",
    "JURISDICTIONST": "1.3.6.1.4.1.311.60.2.1.2", "JURISDICTIONC": "1.3.6.1.4.1.311.60.2.1.3",
}  # fmt: skip
COMMON_NAME = ATTRIBUTES["CN"]
LONGEST_SHOWN = 300

_FINGERPRINT = re.compile(r"sha256:([0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31})\Z")
_OID = re.compile(r"(?:OID\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)\Z", re.IGNORECASE | re.ASCII)
_HEX_PAIR = re.compile(r"[0-9a-fA-F]{2}")
_HEXADECIMAL = re.compile(r"#((?:[0-9a-fA-F]{2})+) *")
_LONE_NUMBER_SIGN = re.compile(r"# *(?:[,;+]|\Z)")
_OPENSSL_BYTE = re.compile(r"x([0-9a-fA-F]{2})")
_LABEL = re.compile(r"subject *[=:] *(?=/|[A-Z0-9.]+ *=)", re.IGNORECASE | re.ASCII)
_NEXT_ATTRIBUTE = re.compile(r" *(?:[A-Z][A-Z0-9]*|(?:OID\.)?[0-2](?:\.[0-9]+)+) *=", re.IGNORECASE | re.ASCII)
_ESCAPED = ' "#+,/;<=>\\'  # what a backslash stands before in RFC 4514 (section 2.4) and OpenSSL
_ENCODINGS = {28: "utf-32-be", 30: "utf-16-be"}  # of UniversalString and BMPString; the others are UTF-8 or less


class Pattern(NamedTuple):
    """One allowed client certificate: exactly one of the first three is set.

    as_windows  the same subject read as Windows writes it, with backslashes that escape nothing, if that is another one
    """

    fingerprint: str = ""
    common_name: str = ""
    subject: frozenset[Rdn] = frozenset()
    as_windows: frozenset[Rdn] = frozenset()


class Judged(NamedTuple):
    """A certificate that went by: whether a pattern matches it, and its subject as a log line may show it.

    pattern  one that would match it, where none does
    """

    allowed: bool
    subject: str
    pattern: str = ""


def parse_pattern(text: str) -> Pattern:
    """A pattern from its text. Raises ValueError with a sentence on what is wrong and right."""
    text = text.strip(" \t\r\n")
    if text.lower().startswith("sha256:"):
        match = _FINGERPRINT.match("sha256:" + text[7:])
        if match is None:
            raise ValueError(_("it is not sha256: and 64 hexadecimal digits"))
        return Pattern(fingerprint=match[1].replace(":", "").lower())
    if "=" not in text:
        if not text:
            raise ValueError(_("it is empty; a subject such as CN=till-7,O=Example, or one common name"))
        if len(text) > 1 and text[0] == text[-1] == '"':
            raise ValueError(
                _('it stands in quotes; write it without them (and a name that has them as CN="""a name""")')
            )
        return Pattern(common_name=_fold(text))
    subject, as_windows = parse_subject(text), frozenset[Rdn]()
    if "\\" in text:
        try:
            as_windows = parse_subject(text, escapes=False)
        except ValueError:
            pass  # Windows does not write it so
    return Pattern(subject=subject, as_windows=as_windows if as_windows != subject else frozenset())


def parse_subject(text: str, escapes: bool = True) -> frozenset[Rdn]:
    """The RDNs of a subject as RFC 4514, OpenSSL (also /CN=a/O=b) or Windows writes it. Raises ValueError.

    escapes  backslashes are escapes where RFC 4514 has such; without, they are plain characters, as Windows has them
    """
    rdns: list[set[Attribute]] = [set()]
    text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
    for name, value, end in _Spelling(text, escapes).attributes():
        oid = _OID.match(name)
        number = oid[1] if oid is not None else ATTRIBUTES.get(name.upper() if name.isascii() else "")
        if number is None:
            raise ValueError(
                _("it has the unknown attribute {name}; known are CN, O, OU, L, ST, C, E and others, or an OID").format(
                    name=ascii(name)
                )
            )
        rdns[-1].add((number, _fold(value)))
        if end != "+":
            rdns.append(set())
    return frozenset(frozenset(rdn) for rdn in rdns if rdn)


def common_names(subject: str) -> list[str]:
    """Those in a subject as a log has it (`shown`), letter by letter; none where it cannot be read or was cut short."""
    if subject.endswith("..."):
        return []
    try:
        found = list(_Spelling(subject, escapes=True).attributes())
    except ValueError:
        return []
    return [value for name, value, _end in found if name.upper() in ("CN", COMMON_NAME)]


class _Spelling:
    """Reads the text of a subject from left to right."""

    def __init__(self, text: str, escapes: bool) -> None:
        self._slashes = text[:1] == "/"  # OpenSSL's old form: nothing is quoted, and bytes are written \xC3
        self._text = text.removeprefix("/")
        self._stops = "/+" if self._slashes else ",;+"
        self._escapes = escapes
        self._at = 0

    def attributes(self) -> Iterator[tuple[str, str, str]]:
        """(name, value, what ended it) of each attribute."""
        text = self._text
        length = len(text.rstrip(" \t"))
        while self._at < len(text):
            equals = text.find("=", self._at)
            if equals < 0:
                raise self._wrong(
                    _("it has a part without =; a comma in a value is written \\, or the value in quotes"), self._at
                )
            name = text[self._at : equals].strip(" \t")
            self._at = equals + 1
            self._skip_spaces()
            first = text[self._at : self._at + 1]
            read = {'"': self._quoted, "#": self._hexadecimal}.get("" if self._slashes else first, self._plain)
            value = read()
            end = text[self._at : self._at + 1]
            self._at += 1
            if end and self._at >= length:
                raise ValueError(_("it ends with a separator"))
            yield name, value, end

    def _wrong(self, what: str, at: int) -> ValueError:
        """A mistake, and the part of the text that it begins in."""
        near = self._text[at : at + 20].strip()
        return ValueError(_("{what} (at {near})").format(what=what, near=ascii(near)) if near else what)

    def _skip_spaces(self) -> None:
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1

    def _plain(self) -> str:
        text, begin = self._text, self._at
        raw = bytearray()
        kept = 0  # up to here trailing spaces were escaped
        while self._at < len(text) and not self._stops_here():
            if text[self._at] == "\\":
                raw += self._escape()
                kept = len(raw)
                continue
            if text[self._at] == '"' and not self._slashes:
                raise self._wrong(
                    _('it has a quote inside a value; the whole value stands in quotes, with "" for each in it'), begin
                )
            raw += _bytes(text[self._at])
            self._at += 1
        return self._decoded(bytes(raw[: max(kept, len(bytes(raw).rstrip(b" \t")))]), begin)

    def _stops_here(self) -> bool:
        stops = self._text[self._at] in self._stops
        if stops and self._slashes:  # its values may have such characters in them
            return _NEXT_ATTRIBUTE.match(self._text, self._at + 1) is not None or self._at + 1 == len(self._text)
        return stops

    def _quoted(self) -> str:
        """A value in quotes: a quote in it is doubled (Windows), or escaped (RFC 2253, OpenSSL)."""
        text, begin = self._text, self._at
        raw = bytearray()
        self._at += 1
        while True:
            char = text[self._at : self._at + 1]
            if not char:
                raise self._wrong(_("it has a quote that is not closed"), begin)
            if char == "\\":
                raw += self._escape()
                continue
            self._at += 1
            if char == '"':
                if text[self._at : self._at + 1] != '"':
                    break
                self._at += 1
            raw += _bytes(char)
        self._skip_spaces()
        if self._at < len(text) and text[self._at] not in self._stops:
            raise self._wrong(_('it has text behind a closing quote; a quote inside a value is written ""'), begin)
        return self._decoded(bytes(raw), begin)

    def _hexadecimal(self) -> str:
        """#04..., the BER of a value (RFC 4514, section 2.4)."""
        if _LONE_NUMBER_SIGN.match(self._text, self._at):
            return self._plain()  # OpenSSL does not escape it
        match = _HEXADECIMAL.match(self._text, self._at)
        if match is None or (match.end() < len(self._text) and self._text[match.end()] not in self._stops):
            raise self._wrong(_("it has a # that begins no hexadecimal digits; a # itself is written \\#"), self._at)
        self._at = match.end()
        raw = bytes.fromhex(match[1])
        head = 2 if raw[1:2] < b"\x80" else 2 + (raw[1] & 0x7F)
        if len(raw) >= head and int.from_bytes(raw[1:2] if head == 2 else raw[2:head], "big") == len(raw) - head:
            return raw[head:].decode(_ENCODINGS.get(raw[0], "utf-8"), "replace" if raw[0] in _ENCODINGS else _BYTES)
        if raw[0] > 7:  # the number of unused bits: what is shown of a BIT STRING is what is in it
            raise self._wrong(_("it has hexadecimal digits that are no BER; a # itself is written \\#"), match.start())
        return raw.decode("utf-8", _BYTES)

    def _escape(self) -> bytes:
        """What the backslash here and the characters behind it stand for: themselves, where that is no escape."""
        text, at = self._text, self._at
        if self._escapes:
            pair = _HEX_PAIR.match(text, at + 1)
            byte = _OPENSSL_BYTE.match(text, at + 1) if self._slashes else None
            if pair is not None or byte is not None:
                self._at += 3 if pair else 4
                return bytes.fromhex(pair[0] if pair else byte[1] if byte else "")
            if at + 1 == len(text) or text[at + 1] in _ESCAPED:
                self._at += 2
                return text[at + 1 : at + 2].encode() or b" "  # of a space, the end of the line has taken it away
        self._at += 1
        return b"\\"

    def _decoded(self, raw: bytes, begin: int) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._wrong(
                _("it has escapes that are not UTF-8; a backslash itself is written \\\\"), begin
            ) from None


_BYTES = "surrogateescape"  # what is not UTF-8 stays what it is


def _bytes(char: str) -> bytes:
    return char.encode("utf-8", _BYTES if "\udc80" <= char <= "\udcff" else "backslashreplace")


def _fold(value: str) -> str:
    """As names are compared: without case, and any spaces as one space. Nothing else in a value is passed over.

    RFC 4518 would leave out control characters, and take K, the sign of the kelvin, for a k.
    """
    folded = value.lower() if value.isascii() else "".join(map(_folded, value))
    return " ".join(filter(None, folded.split(" ")))


def _folded(char: str) -> str:
    folded = char.casefold()
    return folded if char.isascii() or not folded.isascii() else char


class Subjects:
    """The allowed client certificates. Reading one needs the cryptography package, which is imported here and now."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        from cryptography import x509  # takes 100 ms: before the first client, not at it

        self._load = x509.load_der_x509_certificate
        self._fingerprints = {pattern.fingerprint for pattern in patterns if pattern.fingerprint}
        self._names = {pattern.common_name for pattern in patterns if pattern.common_name}
        subjects = {subject for pattern in patterns for subject in (pattern.subject, pattern.as_windows)}
        self._subjects = subjects - {frozenset()}

    def texts(self) -> list[str]:
        """All patterns, in an order of their own."""
        subjects = (repr(sorted(map(sorted, subject))) for subject in self._subjects)
        return [*sorted(self._fingerprints), *sorted(self._names), *sorted(subjects)]

    def judge(self, der: bytes) -> Judged:
        """Does a pattern match this certificate? Raises ValueError where it cannot be read."""
        rdns, text = self._read(der)
        names = {value for rdn in rdns for oid, value in rdn if oid == COMMON_NAME}
        allowed = (
            hashlib.sha256(der).hexdigest() in self._fingerprints
            or not names.isdisjoint(self._names)
            or rdns in self._subjects
        )
        return Judged(allowed, shown(text), "" if allowed else _pattern_of(rdns, shown(text), der))

    def _read(self, der: bytes) -> tuple[frozenset[Rdn], str]:
        """The subject, as it is compared and as text. Raises ValueError."""

        def read() -> tuple[frozenset[Rdn], str]:
            subject = self._load(der).subject
            rdns = frozenset(
                frozenset((attribute.oid.dotted_string, _fold(_text(attribute.value))) for attribute in rdn)
                for rdn in subject.rdns
            )
            return rdns, subject.rfc4514_string()

        return read_by_others(read)


def _pattern_of(rdns: frozenset[Rdn], text: str, der: bytes) -> str:
    """The subject, where it is one that is read as this very one again; else the fingerprint."""
    try:
        is_same = bool(rdns) and parse_pattern(text).subject == rdns
    except ValueError:
        is_same = False
    return text if is_same else f"sha256:{hashlib.sha256(der).hexdigest()}"


Read = TypeVar("Read")


def read_by_others(read: Callable[[], Read]) -> Read:
    """What the parser of another house gives. Whatever goes wrong in it is a ValueError that names what it raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it will not read one day; nobody reads them on standard error
            return read()
    except BaseException as error:
        # A panic of its Rust part is no Exception; what is thrown into this greenlet is none of its errors.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{type(error).__name__}: {shown(str(error))}") from None


def _text(value: "str | bytes") -> str:
    return value if isinstance(value, str) else value.decode("utf-8", _BYTES)


def shown(subject: str) -> str:
    """A subject as a log line may show it: printable, in RFC 4514's escapes, and cut to a length."""
    printable = "".join(char if char.isprintable() else _escaped(char) for char in subject[: LONGEST_SHOWN + 1])
    return printable if len(printable) <= LONGEST_SHOWN else f"{printable[:LONGEST_SHOWN]}..."


def _escaped(char: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
