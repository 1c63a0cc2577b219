"""A setting that has another name now is taken by its old one, wherever it is given, and the warning says the new one.

Two are renamed here as a version would: by an entry of the table.
"""

import datetime
import pathlib
import re
import subprocess
import sys

import pytest
from harness.commands import ROOT, clean
from harness.gateway import Gateway
from harness.waiting import PATIENCE

from ogw.settings.editing import edit, setting_of
from ogw.settings.ini.text import IniText
from ogw.settings.loader import ConfigError, help_text, load
from ogw.settings.renames import RENAMES, Renamed
from ogw.settings.settings import SETTINGS

SINCE = datetime.date(2028, 2, 29)
OLD = {
    "most-tunnels": Renamed("max-tunnels", "1.1.0", SINCE),
    "proxy-user": Renamed("relay-proxy-username", "1.1.0", SINCE),
    "good-host": Renamed("allowed-host", "1.1.0", SINCE),
}
AGAIN = "since version 1.1.0; its old name is taken until 2029-03-01 at least"
# A program with the same entries, as the next version might be.
RENAMED = f"""
import datetime, sys
from ogw.settings.renames import RENAMES, Renamed
RENAMES.update({OLD!r})
from ogw.cli.main import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def renamed(monkeypatch):
    for old, entry in OLD.items():
        monkeypatch.setitem(RENAMES, old, entry)


@pytest.fixture
def ini(tmp_path):
    def write(*lines):
        path = tmp_path / "gw.ini"
        path.write_text("\n".join(["[ogw]", *lines, ""]))
        return str(path)

    return write


def text_of(path):
    return pathlib.Path(path).read_text()


def warnings(config):
    return [one for one in config.warnings if "is called" in one]


def mistakes(*arguments, **environment):
    with pytest.raises(ConfigError) as caught:
        load(arguments, environment)
    return caught.value.mistakes


def test_a_flag_has_an_old_name():
    config = load(["--most-tunnels", "7"], {})
    assert config.max_tunnels == 7 and config.origins["max-tunnels"][0].source == "--most-tunnels"
    assert warnings(config) == [f"--most-tunnels is called --max-tunnels {AGAIN}"]


def test_a_variable_has_an_old_name():
    config = load([], {"OGW_MOST_TUNNELS": "7"})
    assert config.max_tunnels == 7
    assert [*config.warnings][:1] == [f"OGW_MOST_TUNNELS is called OGW_MAX_TUNNELS {AGAIN}"]


def test_a_key_of_the_file_has_an_old_name(ini):
    path = ini("log-level = debug", "most-tunnels = 7")
    config = load(["--config", path], {})
    assert config.max_tunnels == 7 and config.has_values_of(path)
    assert warnings(config) == [f"{path}:3: most-tunnels is called max-tunnels {AGAIN}"]


def test_a_variable_that_names_a_file_has_an_old_name(tmp_path):
    (tmp_path / "user").write_text("till-7\n")
    config = load([], {"OGW_PROXY_USER_FILE": str(tmp_path / "user")})
    assert config.relay_proxy_username.reveal() == "till-7"
    assert warnings(config) == [f"OGW_PROXY_USER_FILE is called OGW_RELAY_PROXY_USERNAME_FILE {AGAIN}"]


def test_a_flag_beats_a_variable_beats_the_file_by_old_names_too(ini):
    path = ini("most-tunnels = 1")
    assert load(["--config", path, "--most-tunnels", "3"], {"OGW_MOST_TUNNELS": "2"}).max_tunnels == 3
    assert load(["--config", path], {"OGW_MOST_TUNNELS": "2"}).max_tunnels == 2


def test_values_of_a_list_add_up_by_its_old_name(ini):
    path = ini("good-host =", "    a.example.com", "    b.example.com")
    config = load(["--config", path, "--good-host", "c.example.com"], {"OGW_GOOD_HOST": "d.example.com,e.example.com"})
    assert {str(rule) for rule in config.allowed_host} == {f"{one}.example.com" for one in "abcde"}
    assert len(warnings(config)) == 3


@pytest.mark.parametrize(
    ("flags", "environment", "lines", "told"),
    [
        (["--most-tunnels=1", "--max-tunnels=2"], {}, [], "--most-tunnels"),
        ([], {"OGW_MOST_TUNNELS": "1", "OGW_MAX_TUNNELS": "2"}, [], "OGW_MOST_TUNNELS"),
        ([], {}, ["max-tunnels = 2", "most-tunnels = 1"], "{path}:3: most-tunnels"),
        (["--max-tunnels=2"], {}, ["most-tunnels = 1"], "{path}:2: most-tunnels"),
        ([], {"OGW_MOST_TUNNELS": "1"}, ["max-tunnels = 2"], "OGW_MOST_TUNNELS"),
    ],
)
def test_both_names_are_a_mistake_wherever_they_stand(ini, flags, environment, lines, told):
    path = ini(*lines)
    (mistake,) = mistakes("--config", path, *flags, **environment)
    assert mistake.startswith(f"{told.format(path=path)} is the old name of max-tunnels, which ")
    assert mistake.endswith(" gives, too; leave the old one out")


def test_a_wrong_value_is_told_where_it_stands(ini):
    path = ini("most-tunnels = many")
    assert mistakes("--config", path)[0].startswith(f"{path}:2: max-tunnels: 'many': ")
    assert mistakes("--most-tunnels", "many")[0].startswith("--most-tunnels: 'many': ")


def test_the_help_shows_no_old_name():
    assert "--max-tunnels" in help_text("ogw run") and "most-tunnels" not in help_text("ogw run").lower()


@pytest.mark.parametrize("value", ["8", "7"])
def test_an_edit_of_the_file_brings_the_new_name(ini, value):
    path = ini("# how many", "most-tunnels = 7", "idle-timeout = 1h")
    outcome = edit(path, lambda editor: editor.set(SETTINGS["max-tunnels"], [value]))
    text = text_of(path)
    if value == "7":
        assert not outcome.changed and "most-tunnels = 7" in text
    else:
        assert text == "[ogw]\n# how many\nmax-tunnels = 8\nidle-timeout = 1h\n"
        assert outcome.said == ["most-tunnels is called max-tunnels now, and was renamed in the file"]


def test_an_edit_of_a_list_finds_its_values_by_the_old_name(ini):
    path = ini("good-host = a.example.com", "    b.example.com")
    edit(path, lambda editor: editor.remove(SETTINGS["allowed-host"], "a.example.com"))
    edit(path, lambda editor: editor.add(SETTINGS["allowed-host"], "c.example.com"))
    assert [text for _line, text in IniText(text_of(path)).texts("allowed-host")] == ["b.example.com", "c.example.com"]
    assert "good-host" not in text_of(path)


def test_to_take_it_out_of_the_file_takes_both_names_out(ini):
    path = ini("max-tunnels = 2", "most-tunnels = 1", "idle-timeout = 1h")
    edit(path, lambda editor: editor.unset(SETTINGS["max-tunnels"]))
    assert text_of(path) == "[ogw]\nidle-timeout = 1h\n"


def test_an_edit_takes_the_old_name():
    assert setting_of("most-tunnels") is SETTINGS["max-tunnels"]


def test_a_command_takes_the_old_name_and_says_the_new_one(ini):
    path = ini()
    done = subprocess.run(
        [sys.executable, "-c", RENAMED, "config", "set", "most-tunnels", "7", "--config", path],
        cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0 and "ogw: most-tunnels is called max-tunnels now\n" in done.stderr
    assert text_of(path) == "[ogw]\nmax-tunnels = 7\n"


def test_a_running_gateway_warns_of_it_and_keeps_a_password_out_of_its_command_line():
    program = [sys.executable, "-c", RENAMED, "run"]
    flags = ("--proxy-user", "s3cret", "--relay-proxy", "127.0.0.1:1", "--most-tunnels", "7")
    with Gateway(*flags, program=program) as gateway:
        gateway.wait_for(message=f"--most-tunnels is called --max-tunnels {AGAIN}")
        assert "s3cret" not in text_of(f"/proc/{gateway.pid}/cmdline")


def test_each_entry_names_a_setting_that_is_there_and_a_version():
    table = {old: entry for old, entry in RENAMES.items() if old not in OLD}
    for old, entry in table.items():
        assert old not in SETTINGS and entry.new in SETTINGS, old
        assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", entry.version), old
