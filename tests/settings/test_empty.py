"""Empty values, and values with what is no text in them: for every setting, wherever it is given."""

import json
import os
import subprocess
import sys

import pytest
from harness.commands import clean
from harness.gateway import ROOT, Gateway, address

from ogw.settings.editing import edit
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import SETTINGS
from ogw.wire.relay_proxy import Secret

OWN_MEANING = {"admin-address": None}  # only the socket in run-dir


@pytest.fixture
def ini(tmp_path):
    def write(text):
        (tmp_path / "ogw.ini").write_text(text)
        return "--config", str(tmp_path / "ogw.ini")

    return write


def sources(name, text, ini):
    """(where a mistake says that it is, flags, environment) for each way to give a value."""
    setting = SETTINGS[name]
    file = ini(f"[ogw]\n{name} ={text}\n")
    return [
        (setting.flag, [f"{setting.flag}={text}"], {}),
        (setting.flag, [setting.flag, text], {}),
        (setting.variable, [], {setting.variable: text}),
        (f"{file[1]}:2: {name}", list(file), {}),
    ]


@pytest.mark.parametrize("text", ["", " ", " \t "])
@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_value_is_the_default_or_a_mistake_that_says_so(ini, name, text):
    setting = SETTINGS[name]
    if setting.secret and text:
        return  # blanks are a password
    default = getattr(load([], {}), setting.attribute)
    for where, flags, environment in sources(name, text, ini):
        if setting.takes_empty:
            value = getattr(load(flags, environment), setting.attribute)
            assert value == OWN_MEANING.get(name, default) or (value == Secret("") == default)
            continue
        with pytest.raises(ConfigError) as caught:
            load(flags, environment)
        (mistake,) = caught.value.mistakes
        assert mistake.startswith(f"{where}: '"), mistake
        assert mistake.endswith(f"; it is empty: leave it out for the default, {setting.default}"), mistake


def test_what_an_empty_value_means_is_said_where_it_is_not_the_default():
    assert {name for name, setting in SETTINGS.items() if setting.empty} == set(OWN_MEANING)
    for name in OWN_MEANING:
        assert SETTINGS[name].empty in SETTINGS[name].help


def test_no_setting_listens_nowhere_or_allows_no_port_because_nothing_was_given():
    for name, setting in SETTINGS.items():
        if setting.listed and setting.default:
            for text in (",", " , ", "\n", ",\n,"):
                with pytest.raises(ConfigError, match="it is empty: leave it out for the default"):
                    load([f"--{name}={text}"], {})


def test_empty_elements_of_a_list_are_none_of_its_values(ini):
    file = ini("[ogw]\nlisten-address = , 127.0.0.1,,\n    \n    127.0.0.2 ,\n")
    assert [host for host, _port in load(file, {}).listen] == ["127.0.0.1", "127.0.0.2"]
    # Another source gave values: an empty one adds nothing to them.
    assert load(["--listen-address", "127.0.0.3"], {"OGW_LISTEN_ADDRESS": ""}).listen == (("127.0.0.3", 8080),)


def test_a_stronger_source_wins_over_an_empty_variable():
    assert load(["--workers", "2"], {"OGW_WORKERS": ""}).workers == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_an_edit_to_nothing_leaves_a_file_that_a_gateway_takes(tmp_path, name):
    path = str(tmp_path / "ogw.ini")
    outcome = edit(path, lambda editor: editor.set(SETTINGS[name], []))
    load(["--config", path] if os.path.exists(path) else [], {})
    if not SETTINGS[name].takes_empty:
        assert f"{name} cannot be empty; without it in the file its default holds" in outcome.said[0]


STRANGE = [
    ("\x00", "control character"),
    ("a\x1b[2J", "control character"),
    ("a\x7f", "control character"),
    ("a\x9b2J", "control character"),
    ("a\udcff", "bytes in it that are not UTF-8"),
    ("\ud83d", "bytes in it that are not UTF-8"),
]


@pytest.mark.parametrize(("text", "why"), STRANGE)
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_no_text_is_a_mistake_in_every_setting_and_is_not_printed_as_it_is(name, text, why):
    for flags, environment in (([f"--{name}={text}"], {}), ([], {SETTINGS[name].variable: text})):
        with pytest.raises(ConfigError) as caught:
            load(flags, environment)
        told = "\n".join(caught.value.mistakes)
        assert told.isprintable() or "\n" in told
        assert text not in told
        told.encode()
        if name in ("log-file", "state-dir", "relay-proxy-password", "agent-config"):  # that take any text
            assert why in told


@pytest.mark.parametrize("name", SETTINGS)
def test_a_very_long_value_is_a_value_or_one_short_mistake(name):
    for text in ("9" * 100_000, "a" * 100_000, "0" * 5000 + "1"):
        try:
            load([f"--{name}={text}"], {})
        except ConfigError as error:
            assert all(len(mistake) < 1000 for mistake in error.mistakes), name


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "ogw", *words],
        cwd=ROOT, env=clean(**environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_empty_variables_are_told_as_what_they_are_by_every_command():
    for words in (["run"], ["check"], ["config", "show"], ["explain", "a.example"]):
        done = run(*words, OGW_WORKERS="", OGW_LISTEN_ADDRESS="", OGW_CONFIG="")
        said = [
            line.rpartition("OGW-401 wrong configuration: ")[2].removeprefix("ogw: ")
            for line in done.stderr.splitlines()
        ]
        assert done.returncode == 2
        assert said[:3] == [
            "OGW_CONFIG: '': the path is empty; name an INI file, or leave it out for /etc/ogw/ogw.ini",
            "OGW_LISTEN_ADDRESS: '' names nothing; it is empty: leave it out for the default, 0.0.0.0, ::",
            "OGW_WORKERS: '': it is neither auto nor a whole number; it is empty: leave it out for the default, auto",
        ], done


def test_bytes_that_are_no_text_end_no_command_with_a_traceback():
    bad = b"\xff\xfe"
    for words in (
        ["run", "--log-file", bad], ["check", b"--\xff", bad], ["config", "show", "--presets-folder", bad],
        ["config", "set", "log-file", bad, "--config", "/tmp/ogw-none.ini"], ["config", "get", bad], [bad],
        ["check", "--relay-proxy", b"http://u:\xff@h"], ["check", "--relay-proxy-password", bad],
    ):  # fmt: skip
        done = run(*words)
        assert done.returncode == 2 and "Traceback" not in done.stderr and "OGW-400" not in done.stderr, done


def test_an_empty_admin_address_is_only_the_socket_and_everything_else_listens():
    place = address()
    with Gateway(
        "--listen-address", place, listen="", environment={"OGW_ALLOWED_HOST": "", "OGW_LOG_FILE": ""}
    ) as gateway:
        started = gateway.wait_for(event=101)
        assert started["listen"] == [f"{place}:8080"] and "admin" not in started
        assert json.dumps(started)
