"""A mistake says what is wrong: an indented setting, a number that is too large, the line of a byte, what was typed."""

import pytest
from harness.commands import ogw
from harness.edits import Edited

from ogw.settings.kinds import duration, number, number_or_auto, size
from ogw.settings.loader import ConfigError, load


def told(tmp_path, text):
    """The mistakes of such an INI file, without its path."""
    file = tmp_path / "gw.ini"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(["--config", str(file)], {})
    return [mistake.removeprefix(f"{file}:") for mistake in caught.value.mistakes]


INDENTED = "is indented, as values of a list are; a setting begins its line: take away the blanks before it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ogw]\nallowed-host = www.example.com\n  listen-port = 8081\n", ["3: listen-port"]),
        ("[ogw]\nallowed-host =\n\tlisten-port=8081\n", ["3: listen-port"]),
        ("[ogw]\nlisten-port = 8081\n  workers = 2\n", ["3: workers"]),
        ("[ogw]\n  listen-port = 8081\n  workers = 2\n", ["2: listen-port"]),
        ("[ogw]\nallowed-host = a.example\n  workers = 2\n    b.example\n  stage = x\n", ["3: workers", "5: stage"]),
        ("[ogw]\nallowed-client-certificate =\n    CN=till\n    log-file = x\n", ["4: log-file"]),
    ],
)
def test_a_setting_that_is_indented_is_one(tmp_path, text, says):
    assert told(tmp_path, text) == [f"{one} {INDENTED}" for one in says]


def test_what_only_looks_like_a_setting_is_a_value(tmp_path):
    (mistake,) = told(tmp_path, "[ogw]\nallowed-host =\n    a.example\n    port = 443\n")
    assert mistake.startswith("4: host rule 'port = 443'")


@pytest.mark.parametrize("digits", ["9" * 18, "9" * 20, "1" + "0" * 4000, "9" * 5000])
def test_a_number_with_too_many_digits_is_too_large(digits):
    for read, says in (
        (number(1, 128), "it must be from 1 to 128"),
        (number_or_auto(1, 128), "it must be from 1 to 128"),
        (duration(1, 60), "it must be from 1 to 60 seconds"),
        (size(1024, 4096), "it must be from 1024 to 4096 bytes"),
    ):
        with pytest.raises(ValueError, match=f"^{says}$"):
            read(digits)


def test_a_serial_with_too_many_digits_is_too_large(tmp_path):
    (tmp_path / "list").write_text("a.example\n")
    end = ogw("sign", str(tmp_path / "list"), "--key", "k", "--serial", "9" * 23)
    assert end.returncode == 2 and "it must be from 0 to 999999999999999" in end.stderr


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[ogw]\n# fine\nlog-file = caf\xe9\n", ":3: not a text in UTF-8"),
        ("[ogw]\n".encode("utf-16"), ": a text in UTF-16; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_says_where(tmp_path, data, says):
    file = Edited(tmp_path, data)
    for words in (
        ("check", "--config", str(file.path)),
        ("config", "get", "log-file"),
        ("config", "set", "log-file", "x"),
        ("allowed-host", "list"),
    ):
        end = file.run(*words)
        assert end.returncode and f"{file.path}{says}" in end.stderr


def test_an_edit_that_is_refused_names_what_was_typed_and_no_line_that_is_not_there(tmp_path):
    file = Edited(tmp_path, "[ogw]\n\nlog-file = /dev/null\nallowed-host = a.example\n")
    said = file.told("allowed-host", "add", "www.example.com", "--from", "cn:x", code=1)
    assert said.startswith("ogw: host rule 'www.example.com from=cn:x': from=cn:x names clients by their certificates")
    said = file.told(
        "relay-proxy", "set", "proxy.example", "--username", "u", "--password-file", "/nonexist", "--no-try", code=1
    )
    assert "ogw: relay-proxy-password-file: /nonexist: No such file or directory; nothing was changed" in said
    said = file.told("config", "set", "syslog", "127.0.0.1", code=1)
    assert said.startswith("ogw: log-file and syslog: only one of them can be set")


def test_a_line_that_is_there_is_told_with_its_number(tmp_path):
    text = "[ogw]\ntls-rules = enforce\n\nallowed-client-certificate = CN=x\nclient-certificate-hosts = a.example\n"
    file = Edited(tmp_path, text)
    said = file.told("config", "unset", "allowed-client-certificate", code=1)
    assert f"ogw: {file.path}:5: client-certificate-hosts: set allowed-client-certificate, too" in said
