"""Host rules: the one reader of their grammar, for flag, variable, file and list.

PATTERN[:PORT] [from=NETWORK|cn:NAME|san:NAME] [to=NETWORK] [until=TIME] [no-server-name] [stage=NAME] [note="..."]
"""

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import pairwise
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.policy.names import is_name, name_text, parse_name
from ogw.policy.networks import Network, parse_network
from ogw.policy.rule_list import rule_texts, several, words_of
from ogw.wire.address import unmapped
from ogw.wire.connect import parse_host
from ogw.wire.host_mistakes import host_mistake
from ogw.wire.place import in_brackets, place
from ogw.wire.url import shown_url

LONGEST_SHOWN = 80  # characters of what is wrong, in a message
MOST_WRONG = 1000  # rules of one text: what has more is no list of rules, and is not read on

_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_STARRED = re.compile(r"[a-z0-9_-]*\*[a-z0-9_-]*\Z")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
_RELATIVE = re.compile(r"[0-9]+[smhdw]\Z")
_STAGE = re.compile(r"[a-z0-9-]{1,32}\Z")
_LIKE_URL = re.compile(r'[^\s"]*[?@]')
_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # spaces of other widths (category Zs)


# Of a rule; each rightly written.
ATTRIBUTES = {
    "from": "from=10.1.0.0/16",
    "to": "to=10.1.0.0/16",
    "until": "until=2027-01-31T18:00:00Z",
    "no-server-name": "no-server-name",
    "stage": "stage=canary",
    "note": 'note="why"',
}
_OF_DENIED = ("from", "until", "stage", "note")
_CUT = re.compile(r'(?:from=(?:cn|san):|note=)[^"]*\Z')  # what a blank ends that was meant to go on


class Kind(enum.Enum):
    """What a pattern covers."""

    NAME = "name"  # this name
    BELOW = "*.name"  # subdomains of any depth, not the name
    BOTH = ".name"
    STARRED = "pre*post.name"  # one label before the name
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Rule:
    """One host rule.

    name      the name, or what stands behind the star or the first dot
    affixes   STARRED only: what the first label begins and ends with
    network   NETWORK only; a single address is a network of one, and IPv4 inside IPv6 (::ffff:192.0.2.1) is IPv4
    port      None: each of the allowed ports
    clients   networks of clients; with `names` empty, too: all
    names     of clients' certificates (policy/names.py), beside the networks: any that fits is enough
    until     Unix seconds; None: for good
    stage     only gateways of this stage take the rule; "": all
    source    where it stands: "--allowed-host", "OGW_ALLOWED_HOST", "/etc/ogw/ogw.ini:12"
    """

    kind: Kind
    name: str = ""
    affixes: tuple[str, str] = ("", "")
    network: Optional[Network] = None
    port: Optional[int] = None
    clients: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()
    to: tuple[Network, ...] = ()
    until: Optional[float] = None
    no_server_name: bool = False
    stage: str = ""
    note: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    @property
    def pattern(self) -> str:
        """The canonical text of the pattern, without its port."""
        if self.network is not None:
            single = self.network.num_addresses == 1
            return str(self.network.network_address) if single else str(self.network)
        prefix, postfix = self.affixes
        before = {Kind.NAME: "", Kind.BELOW: "*.", Kind.BOTH: ".", Kind.STARRED: f"{prefix}*{postfix}."}
        return before[self.kind] + self.name

    @property
    def text(self) -> str:
        """What it says to a gateway that takes it: without its stage and its note."""
        pattern = self.pattern
        if self.port is not None:
            pattern = place(pattern, self.port)
        clients = (*map(str, self.clients), *map(name_text, self.names))
        words = [pattern, *(f"from={client}" for client in clients), *(f"to={network}" for network in self.to)]
        if self.until is not None:
            words.append(f"until={time_text(self.until)}")
        if self.no_server_name:
            words.append("no-server-name")
        return " ".join(words)

    def __str__(self) -> str:
        """The canonical text of the whole rule; read again, it gives an equal rule."""
        words = [self.text]
        if self.stage:
            words.append(f"stage={self.stage}")
        if self.note:
            words.append(f'note="{self.note}"')
        return " ".join(words)


class _Wrong(Exception):
    """One rule cannot be read; the sentence says which part and shows a right one."""


def parse_rules(text: str, source: str, denied: bool = False) -> tuple[list[Rule], list[str]]:
    """All rules of a text, one per line or separated by commas, and a message for each of the first that are wrong.

    denied  read rules that allow nothing, such as those of denied hosts: they take from= with networks, until=, stage=
            and note= only
    """
    rules: list[Rule] = []
    mistakes: list[str] = []
    for item in rule_texts(text):
        try:
            rules.append(_rule(item, source, denied))
        except _Wrong as wrong:
            mistakes.append(
                _("{source}: host rule {rule}: {wrong}").format(source=source, rule=_shown(item), wrong=wrong)
            )
            if len(mistakes) > MOST_WRONG:
                break
    return rules, mistakes


def parse_rule(text: str, denied: bool = False) -> Rule:
    """A single one. Raises ValueError, which says what is wrong and shows what is right."""
    try:
        return _rule(text, "", denied)
    except _Wrong as wrong:
        raise ValueError(str(wrong)) from None


def of_stage(rules: Iterable[Rule], stage: str) -> list[Rule]:
    """Those that a gateway of this stage takes; "" is a gateway of none."""
    return [rule for rule in rules if rule.stage in ("", stage)]


def alive(rules: Iterable[Rule], stage: str, now: float) -> list[Rule]:
    """Those of this stage that have not ended; `now` in Unix seconds."""
    return [rule for rule in of_stage(rules, stage) if rule.until is None or now < rule.until]


def _rule(item: str, source: str, denied: bool) -> Rule:
    if item.count('"') % 2:
        raise _Wrong(_('a quote is not closed; right is note="some text"'))
    pattern, *attributes = words_of(item)
    values: dict[str, list[str]] = {}
    known = _OF_DENIED if denied else ATTRIBUTES
    for number, (before, word) in enumerate(pairwise([pattern, *attributes])):
        name, equals, value = word.partition("=")
        if name not in known:
            message = _("{word} is not an attribute; attributes are {known}")
            if name in ("to", "no-server-name"):
                message = _("{word} says what is allowed; a rule of this list can have {known}")
            elif not equals and _CUT.match(before):
                message = _(
                    "{word} is not an attribute; attributes are {known}; a value with a space in it stands in quotes, "
                    'as in from="cn:Till 17"'
                )
            raise _Wrong(message.format(word=_shown(name), known=", ".join(known)))
        if bool(equals) == (name == "no-server-name") or (equals and not value.strip('"')):
            raise _Wrong(_("{name} is written {right}").format(name=name, right=ATTRIBUTES[name]))
        if name in values and name not in ("from", "to"):
            raise _Wrong(_("{name} is given twice").format(name=name))
        if name in ("from", "to") and (right := several(attributes, number)):
            message = _("a comma separates rules, not clients or networks; right is {right}; where {other} is a rule "
                        "of its own, it stands in front of this one")  # fmt: skip
            other = right[1].partition("=")[2]
            raise _Wrong(message.format(right=_shown(" ".join(right[:2]))[1:-1], other=_shown(other)[1:-1]))
        values.setdefault(name, []).append(value)
    body, port = _split_port(pattern)
    clients = values.get("from", [])
    named = [text for text in clients if is_name(text)]
    networks = [text for text in clients if not is_name(text)]
    return Rule(
        **_pattern(body),  # type: ignore[arg-type]
        port=port,
        clients=_networks("from", networks),
        names=_names(named, denied),
        to=_networks("to", values.get("to", [])),
        until=_until(values["until"][0]) if "until" in values else None,
        no_server_name="no-server-name" in values,
        stage=_stage(values["stage"][0]) if "stage" in values else "",
        note=_note(values["note"][0]) if "note" in values else "",
        source=source,
    )


def _networks(name: str, texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return tuple(sorted({parse_network(text) for text in texts}, key=str))
    except ValueError as error:
        told = str(error)
        if name == "from":
            told = _("{mistake}; a client with a certificate is written from=cn:NAME or from=san:NAME").format(
                mistake=told
            )
        raise _Wrong(f"{name}={_shown(' '.join(texts))}: {told}") from None


def _names(texts: Sequence[str], denied: bool) -> tuple[str, ...]:
    if texts and denied:
        raise _Wrong(
            _("from={name}: a rule of this list has networks only, as in from=10.1.0.0/16; whoever shows no "
              "certificate would escape it").format(name=_shown(texts[0])[1:-1])
        )  # fmt: skip
    try:
        return tuple(sorted({parse_name(text) for text in texts}))
    except ValueError as error:
        raise _Wrong(f"from={_shown(' '.join(texts))}: {error}") from None


def parse_stage(text: str) -> str:
    """The name of a stage of a roll-out. Raises ValueError with a sentence on what is right."""
    if not _STAGE.match(text):
        raise ValueError(_("it is no name of a stage, which has 1 to 32 of a-z, 0-9 and -, such as canary"))
    return text


def _stage(text: str) -> str:
    try:
        return parse_stage(text)
    except ValueError as error:
        raise _Wrong(f"stage={_shown(text)}: {error}") from None


def _note(text: str) -> str:
    """Notes are shown in terminals, logs and on the page: printable characters, with plain spaces between them."""
    note = _SPACE.sub(" ", text.replace('"', ""))
    for character in note:
        if not character.isprintable():
            raise _Wrong(
                _("a note has printable characters only, and U+{code:04X} is none").format(code=ord(character))
            )
    return note


def _split_port(pattern: str) -> tuple[str, Optional[int]]:
    if "://" in pattern:
        raise _Wrong(_("a rule names a host, not a URL; leave out the part before // and any path"))
    if pattern[:1] == "[":
        body, bracket, port = pattern[1:].partition("]")
        if not bracket or ":" not in body or (port and port[0] != ":"):
            raise _Wrong(_("an IPv6 address with a port is written [2001:db8::1]:8443"))
        port = port[1:] if port else None  # type: ignore[assignment]
    elif pattern.count(":") == 1:
        body, _colon, port = pattern.partition(":")
    else:
        return pattern, None
    if port is None:
        return body, None
    if not _PORT.match(port) or int(port) > 65535:
        told = _("the port is a number from 1 to 65535, as in {body}:8443")
        raise _Wrong(told.format(body=in_brackets(_shown(body)[1:-1])))
    return body, int(port)


def _pattern(text: str) -> dict[str, object]:
    """The fields of a Rule that a pattern without its port gives."""
    if "/" in text:
        if not re.match(r"[0-9a-fA-F.:]+/", text):
            raise _Wrong(_("a rule names a host, without a path; networks are written 192.0.2.0/24"))
        try:
            return {"kind": Kind.NETWORK, "network": parse_network(text)}
        except ValueError as error:
            raise _Wrong(str(error)) from None
    if "*" in text:
        return _star(text)
    if text[:1] == ".":
        name = _name(text[1:])
        _require_two_labels(name, f".{name}")
        return {"kind": Kind.BOTH, "name": name}
    try:
        name, address = parse_host(_bytes(in_brackets(text)))
    except ValueError as error:
        raise _Wrong(host_mistake(error, text)) from None
    if address is not None:
        return {"kind": Kind.NETWORK, "network": ip_network(unmapped(address))}
    return {"kind": Kind.NAME, "name": name}


def _star(text: str) -> dict[str, object]:
    first, _dot, rest = text.partition(".")
    if first.isascii():  # or it is refused: U+212A in lower case is k
        first = first.lower()
    if "*" in rest or not _STARRED.match(first):
        raise _Wrong(_("one star may stand in the first label: *.example.com or agent*.example.com"))
    if not rest:
        raise _Wrong(_("a star needs two labels behind it, as in *.example.com; ogw does not allow everything"))
    name = _name(rest)
    _require_two_labels(name, text)
    if first == "*":
        return {"kind": Kind.BELOW, "name": name}
    prefix, postfix = first.split("*")
    return {"kind": Kind.STARRED, "name": name, "affixes": (prefix, postfix)}


def _name(text: str) -> str:
    try:
        name, address = parse_host(_bytes(text))
    except ValueError as error:
        raise _Wrong(host_mistake(error, text)) from None
    if address is not None:
        raise _Wrong(_("an address has no subdomains; a network is written 192.0.2.0/24"))
    return name


def _require_two_labels(name: str, pattern: str) -> None:
    if "." not in name:
        raise _Wrong(
            _("{pattern} is too wide: two labels must stand behind the star or the dot, as in *.example.com").format(
                pattern=_shown(pattern)
            )
        )


def _bytes(text: str) -> bytes:
    """Half a surrogate pair, as JSON and command lines may have one, is as little a host's name as other non-ASCII."""
    return text.encode(errors="surrogatepass")


def _shown(text: str) -> str:
    """What was given, as a message may quote it: in quotes, escaped and cut. It may be a URL that belongs elsewhere."""
    text = shown_url(text) if "://" in text or _LIKE_URL.match(text) else text
    return ascii(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")


def parse_time(text: str) -> float:
    """Unix seconds from RFC 3339 with a zone, which `time_text` can write. Raises ValueError."""
    if not _RFC_3339.match(text):
        raise ValueError(_("it is not a time with its zone (RFC 3339), such as 2027-01-31T18:00:00Z"))
    try:
        seconds = datetime.fromisoformat(text).timestamp()
        time_text(seconds)  # in UTC it may lie before the year 1 or behind the year 9999
        return seconds
    except (ValueError, OverflowError):
        raise ValueError(_("it is not a time that exists (RFC 3339), in UTC from the year 1 to 9999")) from None


def time_text(seconds: float) -> str:
    """Unix seconds as the settings take them, in UTC: 2027-01-31T18:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _until(text: str) -> float:
    if _RELATIVE.match(text):
        raise _Wrong(
            _("until={text} would begin anew at every start; write the time itself: until=2027-01-31T18:00:00Z").format(
                text=_shown(text)[1:-1]
            )
        )
    try:
        return parse_time(text)
    except ValueError as error:
        if _RFC_3339.match(text):
            raise _Wrong(f"until={_shown(text)}: {error}") from None
        told = _("it is not a time with its zone (RFC 3339), such as until=2027-01-31T18:00:00Z")
        raise _Wrong(f"until={_shown(text)}: {told}") from None
