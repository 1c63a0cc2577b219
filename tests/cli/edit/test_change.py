"""What an edit says and reports: the event of it, what the running gateway does with it, and what it refuses."""

import fcntl
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.edits import Edited
from harness.gateway import Gateway, read_exactly
from harness.upstreams import Server, echo
from harness.waiting import until

from ogw.settings.ini.text import IniText


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "ogw"
    folder.mkdir()
    return Edited(folder, "[ogw]\nallowed-host = www.example.com\n")


def test_the_gateways_log_says_who_changed_what_from_which_policy_to_which(file):
    with Gateway("--config", str(file.path), tls_rules=None) as gateway:
        before = gateway.events(101)[0]["policy"]
        told = file.run(
            "allowed-host", "add", "new.example", "--reload", "--run-dir", gateway.run_dir, SUDO_USER="alice"
        )
        assert told.returncode == 0, told
        line = gateway.wait_for(event=100, message="the configuration was changed")
        assert line["by"].startswith("alice (") and line["file"] == str(file.path)
        assert (line["added"], line["removed"]) == (["allowed-host new.example"], [])
        assert line["old_policy"] == before != line["new_policy"]
        assert gateway.wait_for(event=109)["policy"] == line["new_policy"]
    assert not file.changes  # the gateway was told, so nobody writes into its log beside it


def test_a_change_of_many_rules_is_one_line_that_says_how_many_more(file):
    file.done("allowed-host", "add", *(f"{number}-{'long' * 12}.example" for number in range(400)))
    (line,) = file.changes
    assert line["added"][-1] == f"and {401 - len(line['added'])} more"
    assert len(json.dumps(line)) < 4096


def test_a_setting_that_the_running_gateway_has_from_a_flag_is_told(file):
    with Gateway("--config", str(file.path), "--idle-timeout", "7m") as gateway:
        told = file.told("config", "set", "idle-timeout", "8m", "--run-dir", gateway.run_dir)
        assert (
            "was started with --idle-timeout, which takes precedence over the file" in told
            and f"with `ogw reload --run-dir {gateway.run_dir}`" in told
        )
        told = file.told("config", "set", "listen-port", "8081", "--run-dir", gateway.run_dir)
        assert "restart the gateway for listen-port" in told


def test_a_gateway_that_reads_another_file_is_told(file, tmp_path):
    other = tmp_path / "other.ini"
    other.write_text("[ogw]\nallowed-host = other.example\n")
    with Gateway("--config", str(other)) as gateway:
        end = file.run("allowed-host", "add", "new.example", "--reload", "--run-dir", gateway.run_dir)
        assert end.returncode == 3
        assert f"the running gateway reads {other}, and not {file.path}" in end.stderr
    with Gateway("--allowed-host", "a.example") as gateway:
        end = file.run("allowed-host", "add", "newer.example", "--reload", "--run-dir", gateway.run_dir)
        assert end.returncode == 3 and f"does not read {file.path}" in end.stderr


def test_the_answer_as_json(file):
    value = json.loads(file.done("allowed-host", "add", "new.example", "www.example.com", "--json"))
    assert (value["added"], value["removed"], value["changed"]) == (["allowed-host new.example"], [], True)
    assert "allowed-host www.example.com is there already" in value["said"]
    assert value["old_policy"] != value["new_policy"] and value["reload"] is None
    script = file.folder / "script"
    script.write_text("Add-OMSGatewayAllowedHost newer.example\nImport-Module OMSGateway\n")
    value = json.loads(file.done("import", script, "--json"))
    assert [(line["line"], line["becomes"]) for line in value["lines"]] == [
        (1, "ogw allowed-host add newer.example"),
        (2, "nothing"),
    ]


def test_an_end_is_moved_where_the_rule_stands(file):
    file.done("allowed-host", "add", "a.example", "--until", "2090-01-01T00:00:00Z", "--note", "why")
    file.done("allowed-host", "add", "b.example")
    assert "its end was replaced" in file.told("allowed-host", "add", "A.example", "until=2091-01-01T01:00:00+01:00")
    assert file.text.splitlines()[1:] == [
        "allowed-host = www.example.com",
        '    a.example until=2091-01-01T00:00:00Z note="why"',
        "    b.example",
    ]
    told = file.told("allowed-host", "add", "c.example", "--until", "2020-01-01T00:00:00Z", code=2)
    assert "that time is over already" in told
    file.done("allowed-host", "remove", "a.example")
    assert "a.example" not in file.text


NO_END = re.compile(r"ogw: (.+) is there already, and without an end; `(.+)` lets it end then; nothing was changed\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["allowed-host", "add", "new.example", "www.example.com", "--until", "2h", "--note", "ticket 7"],
            "allowed-host",
        ),
        (
            ["config", "add", "allowed-host", "www.example.com", "until=2h", "note=ticket 7", "new.example"],
            "allowed-host",
        ),
        (["denied-host", "add", "ads.example", "until=2090-01-01T00:00:00Z"], "denied-host"),
        (["config", "add", "relay-proxy-bypass", "b.example", "until=2h"], "relay-proxy-bypass"),
    ],
)
def test_a_rule_for_good_gets_an_end_by_the_command_that_is_named_and_by_no_other(file, words, named):
    file.write(
        "[ogw]\nallowed-host = a.example, www.example.com\ndenied-host = ads.example\nrelay-proxy = http://p:1\n"
        "relay-proxy-bypass = b.example\n"
    )
    before = file.text
    rule, command = NO_END.fullmatch(file.told(*words, code=1)).groups()
    assert file.text == before and rule.startswith(f"{named} ")
    done = file.told(*shlex.split(command)[1:])
    assert "its end was replaced" in done
    (line,) = [one for one in file.text.splitlines() if rule.partition(" ")[2] in one]
    assert re.search(rf"{rule.partition(' ')[2]} until=20[0-9TZ:-]+", line)
    assert ('note="ticket 7"' in file.text) == ("ticket 7" in " ".join(words))
    assert ("new.example" in file.text) == ("new.example" in words)
    file.done(*shlex.split(command)[1:])  # and once more, which finds it done


def test_the_command_that_gives_a_rule_an_end_names_the_gateway_and_reloads_it_and_tunnels_stay(file):
    with Server(echo) as server:
        file.write(
            f"[ogw]\nallowed-target-network = 127.0.0.0/8\nallowed-host = {server.host}\nreload-on-change = yes\n"
        )
        with Gateway("--config", str(file.path)) as gateway:
            tunnel = gateway.tunnel(server.target)
            words = ("allowed-host", "add", server.host, "--until", "2h", "--reload", "--run-dir", gateway.run_dir)
            command = NO_END.fullmatch(file.told(*words, code=1))[2]
            assert command.endswith(f" --replace --run-dir {gateway.run_dir} --reload")
            assert "reloaded, changed: allowed-host" in file.done(*shlex.split(command)[1:])
            gateway.tunnel(server.target).close()
            tunnel.sendall(b"still here")
            assert read_exactly(tunnel, 10) == b"still here"
            tunnel.close()


def test_a_rule_that_stands_there_twice_has_one_end_afterwards(file):
    ends = "a.example until=2090-01-01T00:00:00Z, a.example until=2091-01-01T00:00:00Z note=why"
    file.write(f"[ogw]\nallowed-host = {ends}, b.example\n")
    told = file.told("allowed-host", "add", "a.example", "until=2089-01-01T00:00:00Z")
    assert "its end was replaced" in told
    assert file.text == '[ogw]\nallowed-host = a.example until=2089-01-01T00:00:00Z note="why", b.example\n'
    file.write("[ogw]\nallowed-host = a.example until=2090-01-01T00:00:00Z, a.example\n")
    assert NO_END.fullmatch(file.told("allowed-host", "add", "a.example", "until=2091-01-01T00:00:00Z", code=1))
    file.done("allowed-host", "add", "a.example")
    assert file.text == "[ogw]\nallowed-host = a.example\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["config", "add", "allowed-client-certificate", "#1"], "begins with # or ; is a comment"),
        (["config", "set", "log-file", "a\nlisten-port = 1"], "is one line"),
        (["config", "set", "log-file", "a\rb"], "is one line"),
        (["config", "set", "log-file", b"\xff"], "UTF-8"),
        (["config", "set", "relay-proxy-password", "5ecret "], "neither begins nor ends with a blank"),
        (["allowed-host", "add", "a.example", "--note", 'say "no"'], "must not have double quotes"),
        (["allowed-host", "add", "a.example", "--until", "soon"], "30m, 2h, 3d, 1w"),
        (["allowed-host", "add", "a.example", "--until", "999999w"], "neither a time from now on"),
    ],
)
def test_what_the_file_cannot_hold_is_refused(file, words, says):
    before = file.text
    end = subprocess.run(
        [*OGW, *words], cwd=ROOT, env=clean(OGW_CONFIG=str(file.path)), capture_output=True, timeout=60
    )
    assert end.returncode == 2 and says in end.stderr.decode(), end
    assert b"5ecret" not in end.stderr and file.text == before


def test_what_is_wrong_in_the_file_can_be_removed_by_its_text(file):
    file.write("[ogw]\nallowed-host = *, www.example.com\n")
    file.done("allowed-host", "remove", "*")
    assert file.text == "[ogw]\nallowed-host = www.example.com\n"


@pytest.mark.parametrize(
    ("setting", "value", "shown"),
    [
        ("allowed-host-source", "https://lists.example/a.txt?token=s3cret", "https://lists.example/a.txt?(hidden)"),
        ("allowed-host-source", "https://lists.example/a.txt?token=s3cret", "https://lists.example/a.txt"),
        ("relay-proxy", "http://till:s3cret@proxy.example:3128", "http://(hidden)@proxy.example:3128"),
    ],
)
def test_what_is_partly_hidden_can_be_removed_as_it_is_shown(file, setting, value, shown):
    file.done("config", "add", setting, value)
    told = file.done("config", "remove", setting, shown)
    assert "s3cret" not in told and "s3cret" not in file.text and "proxy.example" not in file.text


def test_of_two_that_are_shown_alike_none_is_removed(file):
    url = "https://lists.example/a.txt"
    file.done("config", "add", "allowed-host-source", f"{url}?token=one", f"{url}?token=two")
    before = file.text
    told = file.told("config", "remove", "allowed-host-source", f"{url}?(hidden)", code=1)
    assert "means several lists" in told and file.text == before
    file.done("config", "remove", "allowed-host-source", f"{url}?token=two")
    file.done("config", "remove", "allowed-host-source", f"{url}?(hidden)")
    assert url not in file.text


def test_the_same_twice_in_a_line_goes_at_once(file):
    file.write("[ogw]\nallowed-host = a.example, b.example, A.example\n    a.example\n")
    file.done("allowed-host", "remove", "a.example")
    assert file.text == "[ogw]\nallowed-host = b.example\n"


def test_a_new_key_takes_no_values_from_a_list_around_its_comment():
    text = IniText("[ogw]\nallowed-host =\n    a.example\n#listen-port = 8080\n    b.example\n")
    text.set("listen-port", ["8081"])
    assert [one for _line, one in text.texts("allowed-host")] == ["a.example", "b.example"]
    assert text.texts("listen-port") == [(6, "8081")]


def test_a_pipe_or_a_folder_in_place_of_the_file_is_said_at_once(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, says in ((tmp_path / "pipe", "is not a file that could be edited"), (tmp_path, "Is a directory")):
        assert says in file.told("allowed-host", "add", "a.example", "--config", path, code=1)


def test_a_whole_line_of_the_original_in_one_word(file):
    file.done("Add-OMSGatewayAllowedHost \u2013Host 'new.example' -ErrorAction Stop")
    assert "new.example" in file.text
    assert "one line at a time" in file.told("Get-OMSGatewayAllowedHost ; Get-OMSGatewayConfig", code=2)


@pytest.mark.parametrize(
    "words",
    [
        ["config", "set", "relay-proxy-password", "5ecret"],
        ["config", "set", "relay-proxy", "http://u:5ecret@p.example"],
        ["relay-proxy", "set", "http://u:5ecret@p.example"],
        ["Set-OMSGatewayRelayProxy http://p.example u 5ecret"],
    ],
)
def test_a_password_among_values_is_wiped_from_the_process_command_line(file, words):
    folder = os.open(file.folder, os.O_RDONLY)  # the command waits for the lock: there is time to look
    fcntl.flock(folder, fcntl.LOCK_EX)
    with subprocess.Popen(
        [*OGW, *words, "--config", file.path] if len(words) > 1 else [*OGW, *words],
        cwd=ROOT,
        env=clean(OGW_CONFIG=str(file.path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        shown = pathlib.Path(f"/proc/{process.pid}/cmdline")
        until(lambda: b"(hidden)" in shown.read_bytes() or process.poll() is not None)
        assert process.poll() is None
        assert b"5ecret" not in shown.read_bytes()
        process.kill()
    os.close(folder)


OLD = "relay-proxy = http://p.example:3128 for=a.example until=2020-01-01T00:00:00Z\n"


def test_a_warning_of_a_change_names_the_file_and_old_ones_are_not_told_again(file):
    file.write(f"[ogw]\nallowed-host = a.example\n{OLD}")
    assert file.told("allowed-host", "add", "b.example").count("ended at") == 0
    file.write("[ogw]\nallowed-host = a.example\n")
    told = file.told("config", "add", "relay-proxy", OLD.partition(" = ")[2].strip())
    assert f"{file.path}:3: relay-proxy: http://p.example:3128 for=a.example" in told and ".ogw-edit" not in told


@pytest.mark.parametrize("wrong", ["listen-port = 8080\nlisten-port = 8081\n", "[foo]\n", "stray\n"])
@pytest.mark.parametrize(("reload", "code"), [((), 0), (("--reload",), 3)])
def test_a_change_of_a_file_that_does_not_say_which_gateway_is_meant_is_told_as_made(tmp_path, wrong, reload, code):
    ini = tmp_path / "ogw.ini"
    ini.write_text(f"[ogw]\nallowed-host = a.example\nlog-file = {tmp_path}/ogw.log\n{wrong}")
    done = ogw("allowed-host", "add", "b.example", "--config", str(ini), *reload)
    assert done.returncode == code and "    b.example\n" in ini.read_text(), done
    assert f"{ini} was changed" in done.stderr and "it is not known which gateway is meant" in done.stderr
    done = ogw("allowed-host", "add", "c.example", "--json", "--config", str(ini), *reload)
    told = json.loads(done.stdout)
    assert (done.returncode, told["changed"], told["added"]) == (code, True, ["allowed-host c.example"]), told
