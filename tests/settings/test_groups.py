"""Settings stand under headings: in the declarations, in `--help` and in the sample file alike."""

import pathlib
import re
from itertools import groupby

from ogw.settings.loader import help_text
from ogw.settings.settings import GROUPS, SETTINGS

SAMPLE = pathlib.Path(__file__).parents[2] / "conf" / "ogw.ini"


def test_a_group_is_declared_in_one_piece():
    assert [heading for heading, _settings in groupby(SETTINGS.values(), lambda setting: setting.group)] == list(GROUPS)


def test_the_help_shows_every_setting_under_its_heading(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    found = {}
    heading = ""
    for line in help_text("ogw run").splitlines():
        if match := re.match(r"(\S.*):$", line):
            heading = match[1]
        elif (match := re.match(r"  --([a-z0-9-]+) ", line)) and match[1] in SETTINGS:
            found[match[1]] = heading
    assert found == {name: setting.group for name, setting in SETTINGS.items()}


def test_the_sample_file_shows_every_setting_under_its_heading():
    found = {}
    heading = ""
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"# --- (.+) ---$", line):
            heading = match[1]
        elif match := re.match(r"#([a-z][a-z0-9-]*) =", line):
            found[match[1]] = heading
    assert list(found.items()) == [(name, setting.group) for name, setting in SETTINGS.items()]
