"""Record what a version promises, at its release: tools/record_contract.py writes tests/data/contract/VERSION.json.

tests/test_contract.py holds the later versions to it, as docs/upgrade.md says.
"""

import itertools
import json
import pathlib
import re
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # this copy of ogw, whichever is installed

from harness.admin import ask
from harness.gateway import Gateway

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.events import CATALOGUE, Field
from ogw.settings.settings import SETTINGS

ROOT = pathlib.Path(__file__).parent.parent
RECORDED = ROOT / "tests" / "data" / "contract"
# What makes a gateway show all of its metrics.
FLAGS = ("--allowed-host", "www.example.com", "--relay-proxy", "http://127.0.0.1:1")


def promised() -> dict[str, dict[str, Any]]:
    """What this version promises, by its kind: names, and what each is."""
    return {
        "settings": {name: "list" if setting.listed else "single" for name, setting in sorted(SETTINGS.items())},
        "fields": dict.fromkeys(sorted(text for name, text in vars(Field).items() if name.isupper()), "field"),
        "events": {str(int(number)): name for number, (_level, name) in sorted(CATALOGUE.items())},
        "reasons": {reason.token: int(reason.event) for reason in Reason if reason is not Reason.ALLOWED},
        "metrics": _metrics(),
        "commands": _commands(),
    }


def _metrics() -> dict[str, str]:
    """Each with its type and the labels of its first sample."""
    with Gateway(*FLAGS) as gateway:
        lines = ask(gateway, "/metrics")[2].decode().splitlines()
    found: dict[str, str] = {}
    for kind, sample in itertools.pairwise(lines):
        if type_of := re.match(r"# TYPE (\S+) (\S+)", kind):
            labels = re.findall(r"(\w+)=", sample) if sample.startswith(type_of[1]) else []
            found[type_of[1]] = " ".join([type_of[2], *labels])
    return dict(sorted(found.items()))


def _commands() -> dict[str, str]:
    """Each with its flags and exit codes, as its help says them."""
    parts = re.split(r"^### ogw (.+)$", (ROOT / "docs" / "commands.md").read_text(), flags=re.MULTILINE)
    return {
        words: " ".join([*sorted(set(re.findall(r"^ {6}(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))),
                         *re.findall(r"^ {6}([0-9]+)  ", text, re.MULTILINE)])
        for words, text in zip(parts[1::2], parts[2::2], strict=True)
    }  # fmt: skip


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    file = RECORDED / f"{__version__}.json"
    file.write_text(json.dumps(promised(), indent=1) + "\n", encoding="utf-8")
    print(file)
