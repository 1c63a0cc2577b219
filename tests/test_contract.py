"""What versions promised holds: their settings, what they log, metrics, commands, the lists that they keep.

tests/data/contract has a file for each version, written by tools/record_contract.py at its release; the newest is that
of the version in the making. Settings may be renamed (ogw/settings/renames.py); nothing else goes.
"""

import json
import pathlib
import re

import pytest
from record_contract import promised

from ogw import __version__
from ogw.settings.elsewhere.copies import read_copy
from ogw.settings.renames import name_now

DATA = pathlib.Path(__file__).parent / "data"
VERSIONS = sorted((DATA / "contract").glob("*.json"))
URL = "https://lists.example.com/hosts.txt"
STATES = sorted((DATA / "state").iterdir())


@pytest.fixture(scope="module")
def now():
    return promised()


def test_this_version_has_its_file():
    assert __version__ in [path.stem for path in VERSIONS], "run tools/record_contract.py"


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_what_a_version_promised_is_still_there(path, now):
    then = json.loads(path.read_text())
    then["settings"] = {name_now(name): kind for name, kind in then["settings"].items()}
    flags = {words: set(more.split()) for words, more in now["commands"].items()}
    for words, more in then.pop("commands").items():
        assert set(more.split()) <= flags.get(words, set()), f"ogw {words}"
    for kind, names in then.items():
        gone = names.items() - now[kind].items()
        assert not gone, f"{kind} of {path.stem} that are gone, or something else now: {gone}"


@pytest.mark.parametrize("folder", STATES, ids=lambda path: path.name)
def test_a_list_that_a_version_kept_is_read(folder):
    copy = read_copy(str(folder), URL, 1 << 20)
    assert copy.body == b"www.example.com\n*.example.org\n" and copy.etag == '"7"'


def test_the_page_of_upgrades_tells_of_each_kind():
    page = (DATA.parent.parent / "docs" / "upgrade.md").read_text(encoding="utf-8")
    told = page.partition("## What stays compatible")[2].partition("\n## ")[0]
    assert all(re.search(word, told) for word in ("INI", "state-dir", "fields", "metrics", "protocol", "events"))
