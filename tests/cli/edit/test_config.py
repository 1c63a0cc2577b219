"""`ogw config get|set|unset|add|remove|path`."""

import json
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean
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
    assert "listen-port has that value already" in file.told("config", "set", "listen-port", "8082")
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
    assert "does not exist yet" in file.told("config", "path", "--config", file.folder / "no.ini", code=1)
    loop = file.folder / "loop.ini"
    loop.symlink_to(loop)
    told = file.told("config", "path", "--config", loop, code=1)
    assert f"{loop}: Too many levels of symbolic links" in told and "does not exist yet" not in told


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["set", "listen-prot", "1"], 2, "there is no setting 'listen-prot'; did you mean listen-port?"),
        (["get", "LISTEN_PORT"], 2, "did you mean listen-port?"),
        (["set", "listen-port", "0"], 2, "listen-port: '0': it must be from 1 to 65535"),
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


NO_START = {
    ("set", "log-file", "{folder}/no/ogw.log"): "there is no folder {folder}/no; make it",
    ("set", "log-file", "{folder}"): "log-file: {folder}: Is a directory; name a file in it",
    ("set", "syslog", "{folder}/no"): "syslog: {folder}/no: No such file",
    ("set", "run-dir", "{folder}/no/run"): "there is no folder {folder}/no to make it in",
    ("set", "listen-address", "198.51.100.7"): "this machine does not have that address; see `ip address`",
    ("add", "listen-address", "127.0.0.9", "198.51.100.7"): "this machine does not have that address",
    ("set", "health-address", "198.51.100.7"): "cannot listen on 198.51.100.7:9181: this machine",
    (
        "set",
        "workers",
        "100",
    ): "workers = 100, each with a socket on 2 listen-address, need 524 open files, and 200 are",
}


@pytest.mark.parametrize("words", NO_START)
def test_an_edit_after_which_no_gateway_would_start_is_refused_as_check_would_tell_it(words, file):
    verb, name, *values = (word.format(folder=file.folder) for word in words)
    says = NO_START[words].format(folder=file.folder)

    def end(*words, **environment):
        command = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *OGW, *words, "--config", str(file.path)]
        return subprocess.run(command, cwd=ROOT, env=clean(**environment), capture_output=True, text=True, timeout=60)

    for more in ((), ("--dry-run",)):
        refused = end("config", verb, name, *values, *more)
        assert refused.returncode == 1 and says in refused.stderr and "nothing was changed" in refused.stderr, refused
        assert file.text == OLD
    assert end("check").returncode == 0
    file.write(f"{OLD}{name} = {', '.join(values)}\n")
    checked = end("check")
    assert checked.returncode == 2 and says in checked.stderr
    file.write(f"{OLD}idle-timeout = soon\n")
    assert says in end("config", verb, name, *values).stderr or name == "workers"  # which is counted when all is right
    file.write(f"{OLD}{name} = {', '.join(values)}\n")
    # What the file had before is no mistake of another edit, nor of the one that mends it.
    assert end("config", "set", "tcp-keepalive", "5s").returncode == 0
    assert end("config", "unset", name).returncode == 0
    assert end("check").returncode == 0


def test_a_variable_of_this_shell_that_beats_what_would_not_start_lets_it_pass(file):
    file.done("config", "set", "log-file", "/nowhere/ogw.log")  # OGW_LOG_FILE is one that can be written
    assert "log-file = /nowhere/ogw.log\n" in file.text


@pytest.mark.parametrize("language", ["en", "de", "ja", "ru"])
def test_an_old_mistake_that_names_lines_is_no_new_one_where_an_edit_moves_them(tmp_path, language):
    file = Edited(tmp_path, "[ogw]\nallowed-host = a.example\nlisten-port = 8081\nlisten-port = 8082\n")
    file.done("allowed-host", "add", "b.example", "c.example", OGW_LANGUAGE=language)
    assert "b.example" in file.text and file.text.count("listen-port") == 2
