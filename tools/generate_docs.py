"""Print a table of the README that follows from the code, by its name in TABLES; `--write` puts all of them there."""

import pathlib
import re
import sys

from ogw.policy.advice import REASONS
from ogw.policy.decision import Reason
from ogw.policy.rules import parse_rules
from ogw.settings.settings import SETTINGS

README = pathlib.Path(__file__).parent.parent / "README.md"

VALID = (
    ("www.example.com", "this host, on port 443"),
    ("*.example.com", "subdomains of any depth, not `example.com` itself"),
    (".example.com", "`example.com` and its subdomains"),
    ("agent*.example.com", "`agent`, `agent-7`: one star in the first label"),
    ("build.example.com:8443", "this host, on port 8443 only"),
    ("192.0.2.7", "clients that ask for this address"),
    ("192.0.2.0/24:8443", "or for any of a network, on port 8443"),
    ("[2001:db8::7]:8443", "an IPv6 address with a port stands in brackets"),
    ("www.example.com from=10.1.0.0/16", "for clients of this network"),
    ("db.example.com to=10.9.0.0/24", "may resolve into this private network"),
    ("www.example.com until=2027-01-31T18:00:00Z", "until then"),
    ('www.example.com no-server-name note="old till, see ticket 7"', "without a server name, and why"),
)
INVALID = ("*", "*.com", "a.*.example.com", "https://www.example.com/", "www.example.com:0", "10.1.2.3/16",
           "0x7f.1", "b\u00fccher.example", "www.example.com until=2h")  # fmt: skip


def settings() -> str:
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    for setting in SETTINGS.values():
        default = f"`{setting.default}`" if setting.default else ""
        rows.append(f"| `{setting.name}` | {default} | {setting.help}{' (a list)' if setting.listed else ''} |")
    return "\n".join(rows)


def rules() -> str:
    rows = ["| rule | |", "|---|---|"]
    for text, meaning in VALID:
        found, mistakes = parse_rules(text, "")
        assert len(found) == 1 and not mistakes, text
        rows.append(f"| `{text}` | {meaning} |")
    for text in INVALID:
        (mistake,) = parse_rules(text, "")[1]
        rows.append(f"| not: `{text}` | {mistake.split(': ', 2)[2]} |")
    return "\n".join(rows)


def answers(reasons: list[Reason]) -> str:
    """Reasons with an answer; those with the same advice share a row."""
    rows = ["| answer | reason | event | what to do |", "|---|---|---|---|"]
    for tokens, statuses, event, do in _by_advice(reasons):
        rows.append(f"| {statuses} | {tokens} | {event} | {do} |")
    return "\n".join(rows)


def refusals() -> str:
    return answers([reason for reason in Reason if reason.status >= 400 and "relay-" not in reason.token])


def relay_refusals() -> str:
    return answers([reason for reason in Reason if "relay-" in reason.token])


def rejections() -> str:
    found = [reason for reason in Reason if not reason.status and reason.event not in (108, 405)]
    rows = ["| reason | event | what to do |", "|---|---|---|"]
    for tokens, _statuses, event, do in _by_advice(found):
        rows.append(f"| {tokens} | {event} | {do} |")
    return "\n".join(rows)


def _by_advice(reasons: list[Reason]) -> list[tuple[str, str, int, str]]:
    """Tokens, statuses, event, advice."""
    groups: dict[tuple[int, str], list[Reason]] = {}
    for reason in reasons:
        groups.setdefault((reason.event, REASONS[reason.token].do), []).append(reason)
    return [
        (
            ", ".join(f"`{reason.token}`" for reason in group),
            ", ".join(map(str, dict.fromkeys(reason.status for reason in group))),
            event,
            do,
        )
        for (event, do), group in groups.items()
    ]


TABLES = {
    "settings": settings,
    "rules": rules,
    "refusals": refusals,
    "relay refusals": relay_refusals,
    "rejections": rejections,
}


def with_tables(text: str) -> str:
    """A README with the tables between their marks made anew."""
    for name, table in TABLES.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda marks, table=table: f"{marks[1]}\n{table()}\n\n{marks[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(TABLES[sys.argv[1]]())
