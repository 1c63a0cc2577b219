"""Kinds of settings: a reader takes one text and gives its value, or raises ValueError saying what is right."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple, Optional, Union

from ogw.language.messages import gettext as _
from ogw.policy.rules import parse_stage, parse_time
from ogw.wire.connect import parse_host
from ogw.wire.host_mistakes import host_mistake
from ogw.wire.relay_proxy import Secret, credentials

_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_DURATION = re.compile(r"((?:0|[1-9][0-9]*)(?:\.[0-9]{1,6})?)(ms|s|m|h|d)?\Z")
_SIZE = re.compile(r"([1-9][0-9]*)(KiB|MiB)?\Z")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_REGION = re.compile(r"[a-z][a-z0-9]{2,39}\Z")
_LABELS = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?){0,2}\Z")
_ENDPOINT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(.*))?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_UTF_8 = re.compile(r"[\ud800-\udfff]")  # what Python makes of such bytes in flags and variables
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}
BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, None: 1}

LONGEST_NUMBER = 18  # digits that are more than what any setting takes
LONGEST = 4096  # characters of one value, as of a path
HOUR, MONTH = 3600.0, 30 * 86400.0  # seconds


@dataclass(frozen=True)
class Bounded:
    """Reads values between a least and a greatest one, both of which are taken.

    most  what the kernel's call, or the library's, takes that is given the value; what the gateway itself waits for or
          counts is bounded by what makes sense
    """

    least: float
    most: float

    @property
    def extremes(self) -> tuple[str, ...]:
        """The texts of the least and the greatest value."""
        return tuple(f"{value:.6f}".rstrip("0").rstrip(".") for value in (self.least, self.most))

    def __call__(self, text: str) -> Any:
        raise NotImplementedError

    def _require(self, value: float, told: str) -> None:
        """`told` is the mistake of a value that is not within bounds, as a message with {least} and {most}."""
        if not self.least <= value <= self.most:
            raise ValueError(told.format(least=f"{self.least:g}", most=f"{self.most:.0f}"))


class _Number(Bounded):
    """A whole number."""

    def __call__(self, text: str) -> int:
        if not _NUMBER.match(text):
            raise ValueError(_("it is not a whole number"))
        value = _whole(text)
        self._require(value, _("it must be from {least} to {most}"))
        return value


class _NumberOrAuto(_Number):
    """A whole number, or auto, which is 0."""

    @property
    def extremes(self) -> tuple[str, ...]:
        return (*super().extremes, "auto")

    def __call__(self, text: str) -> int:
        if text == "auto":
            return 0
        if not _NUMBER.match(text):
            raise ValueError(_("it is neither auto nor a whole number"))
        return super().__call__(text)


class _Duration(Bounded):
    """Seconds, from 10, 10s, 500ms, 5m, 1h or 2d."""

    def __call__(self, text: str) -> float:
        match = _DURATION.match(text)
        if match is None:
            raise ValueError(_("it is not a duration, such as 10s, 500ms, 5m or 1h"))
        seconds = float(match[1]) * SECONDS[match[2]]
        self._require(seconds, _("it must be from {least} to {most} seconds"))
        return seconds


class _DurationOrAuto(Bounded):
    """Seconds, or None for auto."""

    @property
    def extremes(self) -> tuple[str, ...]:
        return (*super().extremes, "auto")

    def __call__(self, text: str) -> Optional[float]:
        if text == "auto":
            return None
        if not _DURATION.match(text):
            raise ValueError(_("it is neither auto nor a duration, such as 10s, 500ms, 5m or 1h"))
        return _Duration(self.least, self.most)(text)


class _Size(Bounded):
    """Bytes, from 16384, 16KiB or 1MiB."""

    def __call__(self, text: str) -> int:
        match = _SIZE.match(text)
        if match is None:
            raise ValueError(_("it is not a size, such as 16384, 16KiB or 1MiB"))
        value = _whole(match[1]) * BYTES[match[2]]
        self._require(value, _("it must be from {least} to {most} bytes"))
        return value


def _whole(digits: str) -> int:
    """Their number; of more digits than any that is taken, another one that is too large."""
    return int(digits) if len(digits) < LONGEST_NUMBER else 10**LONGEST_NUMBER


def number(least: int, most: int) -> Bounded:
    """A whole number within bounds."""
    return _Number(least, most)


def number_or_auto(least: int, most: int) -> Bounded:
    """The same, or auto."""
    return _NumberOrAuto(least, most)


def duration(least: float, most: float = MONTH) -> Bounded:
    """Seconds within bounds."""
    return _Duration(least, most)


def duration_or_auto(least: float, most: float = MONTH) -> Bounded:
    """The same, or auto, which is None."""
    return _DurationOrAuto(least, most)


def size(least: int, most: int) -> Bounded:
    """Bytes within bounds."""
    return _Size(least, most)


@dataclass(frozen=True)
class Choice:
    """Reads one of a few words."""

    words: tuple[str, ...]

    def __call__(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(_("it is none of {words}").format(words=", ".join(self.words)))
        return text

    @property
    def extremes(self) -> tuple[str, ...]:
        return self.words


def choice(*words: str) -> Choice:
    """One of a few words."""
    return Choice(words)


def host_name(text: str) -> str:
    """A host's name, as a Host header has it without its port: in lower case, without a final dot."""
    try:
        name, address = parse_host(text.encode())
    except ValueError as error:
        told = _("{mistake}; a host name has no scheme, port or star, such as gateway.example.com")
        raise ValueError(told.format(mistake=host_mistake(error, text))) from None
    if address is not None:
        raise ValueError(_("it is an IP address, for which no name is needed"))
    return name


def stage_name(text: str) -> str:
    """The name of a stage; nothing for none."""
    return parse_stage(text) if text else ""


def moment(text: str) -> Optional[float]:
    """Unix seconds, from RFC 3339 with a zone; nothing for none."""
    return parse_time(text) if text else None


def tls_version(text: str) -> int:
    """A version of TLS, as its number in the protocol."""
    try:
        return {"1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303, "1.3": 0x0304}[text]
    except KeyError:
        raise ValueError(_("it is no version of TLS: 1.0, 1.1, 1.2 or 1.3")) from None


def user_name(text: str) -> Secret:
    """A user name for Basic credentials."""
    return credentials(text, "").user


def secret(text: str) -> Secret:
    """A text that is never shown."""
    return credentials("", text).password


def guid(text: str) -> str:
    """An id such as that of a workspace or an account, in lower case."""
    if not _GUID.match(text.lower()):
        raise ValueError(_("it is not an id such as 01234567-89ab-cdef-0123-456789abcdef"))
    return text.lower()


def region_name(text: str) -> str:
    """A cloud's region: westeurope; "West Europe" is the same."""
    name = text.replace(" ", "").lower()
    if not _REGION.match(name) or not text.isascii():  # of some signs the lower case is ASCII
        raise ValueError(_("it is not the name of a region, such as westeurope"))
    return name


def labels(text: str) -> str:
    """The first one to three labels of a host's name, in lower case: my-endpoint, or my-endpoint.westeurope-1."""
    if not _LABELS.match(text.lower()) or not text.isascii():
        raise ValueError(
            _("it is not the first part of a host's name, such as my-endpoint or my-endpoint.westeurope-1")
        )
    return text.lower()


def preset_name(text: str) -> str:
    """The name of a preset; whether there is one is asked later."""
    if not _LABELS.match(text) or "." in text:
        raise ValueError(_("it is not the name of a preset; `ogw presets` lists them"))
    return text


def plain(text: str) -> str:
    """Any text, such as a path."""
    return text


def agent_place(text: str) -> str:
    """Where an agent's files are: auto, or a path. A word alone is neither; a file of that name here is ./word."""
    if text != "auto" and "/" not in text and not _CONTROL.search(text):
        raise ValueError(_("it is neither auto nor the path of a file or a folder, such as /etc/opt/microsoft"))
    return text


def require_short(text: str) -> None:
    """Raise ValueError for what is longer than any value can be."""
    if len(text) > LONGEST:
        raise ValueError(_("it is longer than {most} characters").format(most=LONGEST))


def require_utf_8(text: str) -> None:
    """Raise ValueError for bytes that are not: no reader, no log line and no relay proxy could take them."""
    if _NOT_UTF_8.search(text):
        raise ValueError(_("it has bytes in it that are not UTF-8"))


def require_printable(text: str, separators: str = "") -> None:
    """Raise ValueError for control characters, which are in no value of any setting; those of `separators` are."""
    if any(one not in separators for one in _CONTROL.findall(text)):
        raise ValueError(_("it has a control character in it"))


def endpoint(text: str) -> tuple[str, Optional[int]]:
    """An IP address, with or without a port: 127.0.0.1, 127.0.0.1:8080, ::1, [::1], [::1]:8080."""
    if text.count(":") > 1 and text[:1] != "[":
        text = f"[{text}]"
    match: Optional[re.Match[str]] = _ENDPOINT.match(text)
    try:
        if match is None:
            raise ValueError
        address = ip_address(match[2] if match[1] is None else match[1])
        if (address.version == 6) != (match[1] is not None) or getattr(address, "scope_id", None) is not None:
            raise ValueError
    except ValueError:
        raise ValueError(
            _("it is not an IP address with or without a port, such as 10.1.0.5, 10.1.0.5:8080 or [::1]:8080")
        ) from None
    if match[3] is None:
        return str(address), None
    return str(address), _port(match[3])


class ListenPlace(NamedTuple):
    """
    port  None where it names none
    tls   clients speak TLS there, before anything else
    """

    host: str
    port: Optional[int]
    tls: bool = False


def listen_place(text: str) -> ListenPlace:
    """An IP address, with or without a port; behind tls:// where clients are to speak TLS."""
    tls = text.startswith("tls://")
    try:
        host, port = endpoint(text.removeprefix("tls://"))
    except ValueError as error:
        if not tls and text.lower().startswith(("tls", "https")):
            told = _("{mistake}; an address where clients speak TLS is written tls://10.1.0.5:8443")
            raise ValueError(told.format(mistake=error)) from None
        raise
    return ListenPlace(host, port, tls)


def admin_endpoint(text: str) -> Optional[tuple[str, int]]:
    """An IP address and a port, 9180 where it names none; nothing for none."""
    if not text:
        return None
    address, port = endpoint(text)
    return address, port or 9180


def health_endpoint(text: str) -> Optional[tuple[str, int]]:
    """An IP address and a port, 9181 where it names none; nothing for none."""
    if not text:
        return None
    address, port = endpoint(text)
    return address, port or 9181


def syslog(text: str) -> Union[str, tuple[str, int], None]:
    """The path of the system's log socket, or HOST[:PORT] for UDP, an IPv6 address in brackets; nothing for none."""
    if not text or text[0] == "/":
        return text or None
    match = _ENDPOINT.match(f"[{text}]" if text.count(":") > 1 and text[:1] != "[" else text)
    host = match and (match[1] or match[2])
    if match is None or not host:
        raise ValueError(_("it is neither a path, such as /dev/log, nor HOST:PORT or [IPV6]:PORT"))
    number = _port(match[3]) if match[3] is not None else 514
    try:
        parse_host(
            (f"[{host}]" if match[1] else host).encode()
        )  # a name that there can be: the resolver is asked for no other
    except ValueError as error:
        raise ValueError(host_mistake(error, host)) from None
    return host, number


def _port(text: str) -> int:
    try:
        return int(number(1, 65535)(text))
    except ValueError:
        raise ValueError(_("there is no port from 1 to 65535 behind its colon")) from None
