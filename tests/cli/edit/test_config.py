"""`ogw config get|set|unset|add|remove|path`."""

import json

import pytest
from harness.edits import Edited

OLD = "[ogw]\n# kept\nlisten-port = 8081\nallowed-client = 10.1.0.0/16, 10.2.0.0/16\n"


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path, OLD)


def test_get_says_what_the_file_says(file):
    assert file.done("config", "get", "listen-port") == "8081\n"
    assert json.loads(file.done("config", "get", "listen-port", "--json")) == ["8081"]
    assert file.done("config", "get", "idle-timeout", code=1) == ""


def test_set_and_unset_and_doing_it_twice(file):
    assert file.done("config", "set", "listen-port", "8082") == "- listen-port 8081\n+ listen-port 8082\n"
    assert "listen-port is that already" in file.told("config", "set", "listen-port", "8082")
    file.done("config", "unset", "listen-port")
    assert file.text == OLD.replace("listen-port = 8081\n", "")
    assert "listen-port is not set in the file" in file.told("config", "unset", "listen-port", code=1)


def test_add_and_remove_work_on_single_values_of_a_line(file):
    file.done("config", "remove", "allowed-client", "10.1.0.0/16")
    file.done("config", "add", "allowed-client", "10.3.0.0/16")
    assert file.text.endswith("allowed-client = 10.2.0.0/16\n    10.3.0.0/16\n")
    assert "is no list" in file.told("config", "add", "listen-port", "1", code=2)


def test_path_says_which_file_it_is(file):
    assert file.done("config", "path") == f"{file.path}\n"
    assert "not there yet" in file.told("config", "path", "--config", file.folder / "no.ini", code=1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["set", "listen-prot", "1"], 2, "there is no setting 'listen-prot'; did you mean listen-port?"),
        (["get", "LISTEN_PORT"], 2, "did you mean listen-port?"),
        (["set", "listen-port", "0"], 2, "listen-port: '0' must be from 1 to 65535"),
        (["set", "listen-port", "1", "2"], 2, "listen-port takes one value"),
        (["set", "policy-mode", "report"], 1, "report-until"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(file, words, code, says):
    assert says in file.told("config", *words, code=code)
    assert file.text == OLD


def test_a_variable_that_beats_the_file_is_told(file):
    assert "OGW_LISTEN_PORT is set in this environment" in file.told(
        "config", "set", "listen-port", "8083", OGW_LISTEN_PORT="9000"
    )


def test_secrets_are_hidden(file):
    file.done("config", "set", "relay-proxy-username", "u")
    end = file.run("config", "set", "relay-proxy-password", "5ecret")
    assert end.returncode == 0
    shown = file.run("config", "get", "relay-proxy-password")
    assert shown.stdout == "(hidden)\n"
    assert "5ecret" not in end.stdout + end.stderr + file.log.read_text()
