"""An entry of relay-proxy: the proxy, and for which targets it is.

URL [for=PATTERN[:PORT],...] [from=NETWORK] [until=TIME] [stage=NAME] [note="..."]

Behind the URL, a blank ends a word and a comma goes on in it. So a comma separates entries only where the next one
begins with its scheme, http:// for one, which no host rule can; where no entry of a text has words behind its URL, any
comma does, as it always did.
"""

import re
from dataclasses import dataclass, field

from ogw.language.messages import gettext as _
from ogw.policy.rules import Rule, parse_rule
from ogw.wire.relay_proxy import RelayProxy, parse_relay_proxy, split_relay_proxies, without_credentials

WORDS = {  # behind the URL; each rightly written
    "for": "for=*.ods.opinsights.azure.com,.azure-automation.net",
    "from": "from=10.1.0.0/16",
    "until": "until=2027-01-31T18:00:00Z",
    "stage": "stage=canary",
    "note": 'note="why"',
}
_BEHIND = re.compile(rf"(?<![ \t])[ \t]++(?=(?:{'|'.join(WORDS)})=)")
_WORD = re.compile(r'(?:[^ \t"]|"[^"]*")+')
_ENTRY = re.compile(r'(?:[^,"]|"[^"]*"|,(?![ \t]*[A-Za-z][A-Za-z0-9+.-]*://))+')


@dataclass(frozen=True, slots=True)
class RelayEntry:
    """One entry.

    rules   of the targets that it is for, each with the clients and the end that the entry has; none: it is a general
            one, for any target
    stage   only gateways of this stage take it; "": all
    source  where it stands: "--relay-proxy", "OGW_RELAY_PROXY", "/etc/ogw/ogw.ini:12"
    """

    proxy: RelayProxy
    rules: tuple[Rule, ...] = ()
    stage: str = ""
    note: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As it is written, without credentials."""
        words = [str(self.proxy)]
        if self.rules:
            first, *more = self.rules[0].text.split(" ")
            words += [",".join(["for=" + first, *(rule.text.partition(" ")[0] for rule in self.rules[1:])]), *more]
        words += [f"stage={self.stage}"] if self.stage else []
        return " ".join([*words, f'note="{self.note}"'] if self.note else words)


def parse_relay_entry(text: str) -> RelayEntry:
    """Raises ValueError with a sentence; none shows a password."""
    url, behind = _cut(text)
    if "@" in behind:
        raise ValueError(_("it has an @ behind its URL: a password's blank is written %20, and no note has an @"))
    if re.search(r"\s", url.rpartition("@")[2].strip()):
        message = _("it has something behind its URL that is none of {known}")
        raise ValueError(message.format(known=", ".join(f"{name}=" for name in WORDS)))
    if url.partition("=")[0] in WORDS:
        raise ValueError(_("it has no URL in front of it; in a shell, the whole entry stands in quotes"))
    proxy = parse_relay_proxy(url)
    if behind.count('"') % 2:
        raise ValueError(_('it has a quote that is not closed; right is note="some text"'))
    values = _values(_WORD.findall(behind))
    more = " ".join(f"{name}={value}" for name in ("from", "until", "stage", "note") for value in values[name])
    if values["for"]:
        patterns = (one for text in values["for"] for one in text.split(","))
        rules = tuple(dict.fromkeys(_rule(f"{one} {more}".rstrip()) for one in patterns))
        return RelayEntry(proxy, rules, rules[0].stage, rules[0].note)
    for name in ("from", "until"):
        if values[name]:
            message = _("it has {name}=, which says more of the targets in for=; name those, too")
            raise ValueError(message.format(name=name))
    rule = _rule(f"any.example {more}".strip())  # which says what is wrong with the words that all entries may have
    return RelayEntry(proxy, (), rule.stage, rule.note)


def _values(words: list[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {name: [] for name in WORDS}
    before = ""
    for word in words:
        name, equals, value = word.partition("=")
        if name not in values or not equals:
            message = _("it has {word} behind its URL, which is none of {known}")
            if before.endswith(","):
                message = _("it has a blank behind a comma in for=, before {word}: host rules there have none between "
                            "them, and a further relay proxy begins with its scheme, such as http://")  # fmt: skip
            raise ValueError(message.format(word=f"{word[:80]!a}", known=", ".join(f"{name}=" for name in WORDS)))
        if not value.strip('"'):
            raise ValueError(_("it has an empty {name}=; it is written {right}").format(name=name, right=WORDS[name]))
        values[name].append(value)
        before = word
    return values


def _rule(text: str) -> Rule:
    try:
        return parse_rule(text, denied=True)
    except ValueError as error:
        pattern = text.partition(" ")[0]
        if not pattern:
            message = _("it has a comma in for= with no host rule on one side of it; right is {right}")
            raise ValueError(message.format(right=WORDS["for"])) from None
        if pattern == "any.example":
            raise ValueError(_("it has a wrong host rule: {mistake}").format(mistake=error)) from None
        told = _("it has a wrong host rule {rule}: {mistake}")
        raise ValueError(told.format(rule=f"{pattern[:80]!a}", mistake=error)) from None


def split_relay_entries(text: str) -> list[str]:
    """Several of them: one per line, or separated by commas."""
    parts: list[str] = []
    for line in text.split("\n"):
        if not _BEHIND.search(line):
            parts += split_relay_proxies(line)
        elif line.count('"') % 2:
            parts.append(line)  # which is wrong, and says so
        else:
            parts += _ENTRY.findall(line)
    return [part.strip() for part in parts if part.strip()]


def shown_relay_entry(text: str) -> str:
    """The text of an entry, or of what was meant to be one, as it may be shown."""
    url, behind = _cut(text)
    return without_credentials(text) if "@" in behind else f"{without_credentials(url)} {behind}".rstrip()


def _cut(text: str) -> tuple[str, str]:
    """The URL, and the words behind it."""
    match = _BEHIND.search(text)
    return (text, "") if match is None else (text[: match.start()], text[match.end() :].strip())
