"""Write what follows from the code into the pages: tools/generate_docs.py. tests/test_docs.py holds them to it.

A page marks such a part with <!-- NAME --> and <!-- /NAME -->; NAME is one of TABLES. The rest of a page is written by
hand. The part of the commands is their own --help.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # this copy of ogw, whichever is installed

from ogw.cli.commands import COMMANDS, Command
from ogw.policy.advice import REASONS
from ogw.policy.decision import Reason
from ogw.policy.event_advice import EVENTS
from ogw.policy.list_advice import LIST_REASONS
from ogw.policy.rules import parse_rules
from ogw.report.events import CATALOGUE
from ogw.service import messages
from ogw.settings.renames import RENAMES
from ogw.settings.setting import Setting
from ogw.settings.settings import SETTINGS

ROOT = pathlib.Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CHART = ROOT / "conf" / "helm" / "ogw" / "files" / "settings.json"
BAR = "\\|"  # in a cell
WIDTH = "100"  # columns of the screen on which help is shown
ALL_HELPS = """
import sys
from ogw.cli.main import main
for words in sys.argv[1:]:
    main([*words.split(), "--help"])
    print(end="\\0")
"""

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
    ("www.example.com from=cn:till-17", "for the client with this name in its certificate"),
    ('www.example.com from="san:Till 17" from=10.1.0.0/16', "for either of them"),
    ("db.example.com to=10.9.0.0/24", "may resolve into this private network"),
    ("www.example.com until=2027-01-31T18:00:00Z", "until then"),
    ("www.example.com stage=canary", "for gateways with `stage = canary` alone"),
    ('www.example.com no-server-name note="old till, see ticket 7"', "without a server name, and why"),
)
INVALID = ("*", "*.com", "a.*.example.com", "https://www.example.com/", "www.example.com:0", "10.1.2.3/16",
           "0x7f.1", "b\u00fccher.example", "www.example.com until=2h",
           "www.example.com from=10.1.0.0/16,10.2.0.0/16")  # fmt: skip


def _table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(str(cell).replace('|', BAR) for cell in line)} |" for line in lines)


# Rules.


def rules() -> str:
    for text, _meaning in VALID:
        found, mistakes = parse_rules(text, "")
        assert len(found) == 1 and not mistakes, text
    return _table(("rule", "means"), ((f"`{text}`", meaning) for text, meaning in VALID))


def wrong_rules() -> str:
    mistakes = {text: parse_rules(text, "")[1] for text in INVALID}
    return _table(
        ("not a rule", "why"), ((f"`{text}`", mistake.split(": ", 2)[2]) for text, (mistake,) in mistakes.items())
    )


# Settings.


def settings() -> str:
    parts = []
    for group, own in itertools.groupby(SETTINGS.values(), key=lambda setting: setting.group):
        rows = (
            (
                f"`{setting.name}`",
                f"`{setting.default}`" if setting.default else "",
                setting.help + _in_brackets(_list(setting), "needs a restart" * setting.restart),
            )
            for setting in own
        )
        parts.append(f"## {group}\n\n{_table(('setting', 'default', 'what it is'), rows)}")
    return "\n\n".join(parts)


def _list(setting: Setting) -> str:
    return "a list, one a line" if setting.by_line else "a list" * setting.listed


def _in_brackets(*remarks: str) -> str:
    told = "; ".join(filter(None, remarks))
    return f" ({told})" if told else ""


# Those that the chart gives by values of its own, or that make no sense in a pod.
OF_THE_CHART = ("listen-address", "admin-address", "health-address", "run-dir", "state-dir", "reload-on-change",
                "relay-proxy-password", "relay-proxy-password-file")  # fmt: skip


def settings_for_the_chart() -> str:
    """How the chart's templates take each setting, by its name: JSON, one a line."""

    def kind(name: str) -> str:
        setting = SETTINGS[name]
        return " ".join(["list" if setting.listed else "one", *["restart"] * setting.restart])

    kinds = {name: "chart" if name in OF_THE_CHART else kind(name) for name in sorted(SETTINGS)}
    return json.dumps(kinds, indent=2) + "\n"


# Answers.


def refusals() -> str:
    return _answers(reason for reason in Reason if reason.status >= 400 and "relay-" not in reason.token)


def relay_refusals() -> str:
    return _answers(reason for reason in Reason if "relay-" in reason.token)


def rejections() -> str:
    own = (reason for reason in Reason if not (reason.status or reason.refuses))
    return _reasons(reason for reason in own if reason.event not in (108, 405))


def legs() -> str:
    return _reasons(reason for reason in Reason if reason.refuses and not reason.status)


def ends() -> str:
    return _reasons(reason for reason in Reason if not reason.status and reason.event in (108, 405))


def list_reasons() -> str:
    rows = ((f"`{token}`", *advice) for token, advice in LIST_REASONS.items())
    return _table(("reason", "what it means", "what to do"), rows)


def _answers(reasons: Iterable[Reason]) -> str:
    rows = ((reason.status, *_told(reason)) for reason in reasons)
    return _table(("answer", "reason", "what it means", "what to do", "event"), rows)


def _reasons(reasons: Iterable[Reason]) -> str:
    return _table(("reason", "what it means", "what to do", "event"), map(_told, reasons))


def _told(reason: Reason) -> tuple[str, str, str, int]:
    return f"`{reason.token}`", *REASONS[reason.token], reason.event


def events() -> str:
    rows = ((number, CATALOGUE[number][1], *EVENTS[number]) for number in sorted(CATALOGUE))
    return _table(("event", "called", "what it means", "what to do"), rows)


# Messages.


def orders() -> str:
    return _messages(messages.ORDERS)


def sayings() -> str:
    return _messages(messages.SAYINGS)


def questions() -> str:
    return _messages(messages.QUESTIONS)


def _messages(known: Mapping[str, type]) -> str:
    """The first paragraph of what each says of itself."""
    rows = (
        (f"`{kind.__name__}`", " ".join((kind.__doc__ or "").partition("\n\n")[0].split())) for kind in known.values()
    )
    return _table(("message", "means"), rows)


# Commands.


def commands() -> str:
    """Each command's own help; where a word is to be chosen behind it (add, remove, list), also that of each choice."""
    words = [one for command in COMMANDS for one in (command.words, *_choices(command))]
    helps = dict(zip(words, _helps(words), strict=True))
    return "\n\n".join(_shown(one, told) for one, told in helps.items() if told.startswith(f"usage: ogw {one}"))


def _choices(command: Command) -> list[str]:
    verbs = command.takes.split("|")
    return [f"{command.words} {verb}" for verb in verbs] if len(verbs) > 1 and all(map(str.isalpha, verbs)) else []


def _helps(commands: Sequence[str]) -> list[str]:
    """What `ogw COMMAND --help` shows of each. In a process of its own: `ogw run` handles signals from the first on."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("OGW_", "LANG", "LC_"))}
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELPS, *commands],
        cwd=ROOT,
        env={**environment, "COLUMNS": WIDTH, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        text=True,
        check=True,
    )
    # A page scrolls: there a command line need not be broken.
    return [text.strip().replace(" \\\n      ", " ") for text in done.stdout.split("\0")[:-1]]


def _shown(words: str, text: str) -> str:
    more = ""
    if "[env var: " in text:  # every setting
        begin, end = text.partition("\n\noptions:")[0], text.rpartition("\n\nexamples:\n")[2]
        text, more = f"{begin}\n\nexamples:\n{end}", "\n\nEach [setting](settings.md) is a flag."
    shown = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
    return f"### ogw {words}\n\n{shown}{more}"


def renames() -> str:
    if not RENAMES:
        return "No setting was renamed so far."
    rows = ((f"`{old}`", f"`{one.new}`", one.version, one.until) for old, one in sorted(RENAMES.items()))
    return _table(("old name", "new name", "since version", "taken at least until"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "rules": rules,
    "wrong rules": wrong_rules,
    "settings": settings,
    "refusals": refusals,
    "relay refusals": relay_refusals,
    "legs": legs,
    "rejections": rejections,
    "ends": ends,
    "list reasons": list_reasons,
    "events": events,
    "orders": orders,
    "sayings": sayings,
    "questions": questions,
    "commands": commands,
    "renames": renames,
}


def with_tables(text: str) -> str:
    """A page with the parts between marks made anew."""
    for name, table in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if mark:
            text = f"{before}{mark}\n{table()}\n\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return text


def made_anew() -> Iterator[tuple[pathlib.Path, str]]:
    """Each file that has something of the code in it, with the text that it should have."""
    for page in PAGES:
        yield page, with_tables(page.read_text(encoding="utf-8"))
    yield CHART, settings_for_the_chart()


if __name__ == "__main__":
    for path, made in made_anew():
        if not path.exists() or path.read_text(encoding="utf-8") != made:
            path.write_text(made, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is new")
