"""A text with several host rules in it: where one ends and the next begins, and which commas were meant otherwise.

Commas separate rules. One that stands between clients or networks, as in from=10.1.0.0/16,10.2.0.0/16, would make a
target of what was meant as a client: it stays in its rule, which is then wrong, and says so.
"""

import re
from collections.abc import Iterator, Sequence

from ogw.policy.names import is_name

_ITEM = re.compile(r'(?:[^,\n"]|"[^"]*")+')
_WORD = re.compile(r'(?:[^ \t\r"]|"[^"]*")+')
_VALUE = re.compile(r'(?:[^,"]|"[^"]*")+')
_QUOTED = re.compile(r'"[^"]*"')
_LISTED = re.compile(r"(?:from|to)=")  # what may be given several times, once for each
_MORE = re.compile(r',([ \t\r]*)([^,\s"]+|"[^"]*")([ \t\r]*(?=[,\n]|\Z))?')
# Without a port: with one it can only be a target. A port behind cn: makes a target of it, too.
_NETWORK = re.compile(r"\[?(?:[0-9.]+|[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,})(?:/[0-9]+)?\]?\Z")
_NAME = re.compile(r'"?(?:cn|san):(?![0-9]*\Z)')
_HOST = re.compile(r"[A-Za-z0-9_.-]+\Z")


def split_rules(text: str) -> list[str]:
    """The texts of the rules in a text, one per line or separated by commas; separators in quotes do not separate."""
    return list(rule_texts(text))


def words_of(rule: str) -> list[str]:
    """The pattern of a rule, and its attributes."""
    return _WORD.findall(rule)


def rule_texts(text: str) -> Iterator[str]:
    """The same, one by one."""
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:
            if text[position] == '"':  # unclosed: all that follows is one wrong rule
                yield text[position:].strip(" \t\r\n")
                return
            position += 1
            continue
        end = match.end()
        if text[end : end + 1] == "," and "=" in match[0]:
            end = _end(text, position, end)
        if end < len(text) and text[end] == '"':
            end = len(text)
        item = text[position:end].strip(" \t\r\n")
        if item:
            yield item
        position = end


def _end(text: str, begin: int, end: int) -> int:
    """Where a rule ends that seems to end before the comma at `end`. Each part of the text is looked at once."""
    value = ""
    while (more := _MORE.match(text, end)) is not None:
        words = words_of(text[begin:end])
        if words and _LISTED.match(words[-1]):
            value = words[-1].partition("=")[2]
        elif len(words) != 1 or not value:
            return end
        if not _goes_on(value, more):
            return end
        begin = more.start(2)
        rest = _ITEM.match(text, begin)
        end = rest.end() if rest is not None else more.end(2)
    return end


def _goes_on(value: str, more: re.Match[str]) -> bool:
    """Whether what stands behind the comma is one more client or network, after this one."""
    blanks, word, alone = more[1], more[2], more[3] is not None
    if _LISTED.match(word) or _NAME.match(word):
        return True
    if _NETWORK.match(word):
        return alone or not blanks
    return not blanks and is_name(value) and _HOST.match(word) is not None


def several(words: Sequence[str], at: int) -> list[str]:
    """Of an attribute that commas give several values, each as it is to be written: from=A, from=B; else [].

    words  those of a rule; it stands at this place among them
    """
    name = words[at].partition("=")[0]
    end = at + 1
    while end < len(words) and (words[end - 1].endswith(",") or words[end][0] == ","):
        end += 1
    whole = "".join(words[at:end])
    text = whole.partition("=")[2]
    if not is_name(text):
        text = text.replace('"', "")
    if "," not in _QUOTED.sub("", text):
        return []
    values = [part.removeprefix(f"{name}=") for part in _VALUE.findall(text)]
    if len(values) < 2:  # a comma alone: what is wrong with that is told of the value
        return []
    kind = values[0].partition(":")[0].strip('"') if is_name(values[0]) else ""
    of_kind = (f"{kind}:{one}" if kind and not is_name(one) and not _NETWORK.match(one) else one for one in values)
    return [f"{name}={value}" for value in of_kind]
