"""A list of host rules that is kept in a file or on a server: text or JSON, read whole or not at all.

Text has one rule a line; lines that begin with # are comments. JSON is a list of rules, each a string, or an object
with such a list in "hosts"; what else the object has is the business of whoever keeps the list.
"""

import pickle
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.machine.files import text_in
from ogw.policy.hosts import Policy
from ogw.policy.rules import MOST_WRONG, Rule, parse_rules
from ogw.settings.elsewhere.json_text import json_in

MOST_TOLD = 5  # mistakes of one list
MOST_RULES = 250_000  # of all lists: workers that take longer to read them than a reload waits would be replaced
_JSON = re.compile(rb'\s*(?:\{|\[\s*["\]])')  # a bracket alone may be an IPv6 address


class BadList(ValueError):
    """The list is not used: each mistake a sentence that begins with where it is."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


def read_list(body: bytes, where: str, max_size: int) -> tuple[Rule, ...]:
    """The rules of a list. Raises BadList.

    where     the file or URL, for messages and for the rules' own source
    max_size  in bytes
    """
    if len(body) > max_size:
        raise BadList([_("{where}: larger than {size} bytes (source-max-size)").format(where=where, size=max_size)])
    try:
        text = text_in(body, where).removeprefix("\ufeff")
    except ValueError as error:
        raise BadList([str(error)]) from None
    if text.lstrip()[:1] == "<":
        raise BadList([_("{where}: a page in HTML or XML, not a list of host rules").format(where=where)])
    entries = _of_json(text, where) if _JSON.match(body.removeprefix(b"\xef\xbb\xbf")) else _of_text(text, where)
    rules: list[Rule] = []
    mistakes: list[str] = []
    for source, entry, single in entries:
        found, wrong = parse_rules(entry, source)
        if single and not wrong and len(found) != 1:
            wrong = [_("{source}: {entry} is not one host rule").format(source=source, entry=ascii(entry[:80]))]
        rules += found
        mistakes += wrong
        if len(rules) > MOST_RULES:
            raise BadList([_("{where}: more than {most} host rules").format(where=where, most=MOST_RULES)])
        if len(mistakes) > MOST_WRONG:
            break
    if len(mistakes) > MOST_TOLD:
        number = len(mistakes) - MOST_TOLD
        told = (
            ngettext("{where}: and {number} mistake more", "{where}: and {number} mistakes more", number)
            if len(mistakes) <= MOST_WRONG
            else ngettext(
                "{where}: and at least {number} mistake more", "{where}: and at least {number} mistakes more", number
            )
        )
        mistakes = [*mistakes[:MOST_TOLD], told.format(where=where, number=number)]
    if mistakes:
        raise BadList(mistakes)
    return tuple(rules)


def prove(rules: Sequence[Rule], where: str) -> None:
    """Make of them what a gateway makes of them, before they are kept for it to read. Raises BadList.

    Nothing of this can fail, and who is wrong in that learns it here, where the list of before is still in force.
    """
    try:
        for rule in rules:
            if parse_rules(str(rule), "") != ([rule], []):
                raise ValueError(f"{rule!r} reads differently from its own text")
        if pickle.loads(pickle.dumps(rules)) != rules or not Policy(rules).hash:
            raise ValueError("its rules are others after they were handed on")
    except Exception as error:
        told = _("{where}: it cannot be used: {kind}: {error}; this is an error of the gateway")
        raise BadList([told.format(where=where, kind=type(error).__name__, error=ascii(str(error)[:200]))]) from error


def _of_text(text: str, where: str) -> Iterator[tuple[str, str, bool]]:
    """(source, what stands there, whether it must be one rule) of each line."""
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip(" \t\r")
        if entry and entry[0] != "#":
            yield f"{where}:{number}", entry, False


def _of_json(text: str, where: str) -> Iterator[tuple[str, str, bool]]:
    try:
        data = json_in(text, where, _without_doubles)
    except ValueError as error:
        raise BadList([str(error)]) from None
    hosts = data.get("hosts") if isinstance(data, dict) else data
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise BadList(
            [
                _('{where}: it must be a JSON list of texts, or an object with such a list in "hosts"').format(
                    where=where
                )
            ]
        )
    for number, host in enumerate(hosts, 1):
        yield f"{where}, entry {number}", host, True


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _value in pairs}) != len(pairs):
        raise ValueError(_("a key stands in it twice"))
    return dict(pairs)
