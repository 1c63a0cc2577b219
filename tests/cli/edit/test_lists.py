"""`ogw allowed-host` and the other lists: exit codes, attributes, and a running gateway that takes the change."""

import datetime
import json

import pytest
from harness.edits import Edited
from harness.gateway import Gateway, read_exactly
from harness.upstreams import Server, echo

OLD = "[ogw]\n# kept\nallowed-host = a.example\nallowed-target-network = 127.0.0.0/8\n"
CHANGED = "the configuration was changed"


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path, OLD)


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("allowed-host", "b.example", "B.EXAMPLE"),
        ("denied-host", "*.bad.example", "*.Bad.example"),
        ("allowed-client", "10.1.0.0/16", "10.1.0.0/16"),
        ("allowed-client-certificate", "CN=till-7, O=Shop", "CN=till-7,O=Shop"),
    ],
)
def test_add_list_and_remove_and_doing_it_twice(file, name, value, other):
    assert file.done(name, "add", value) == f"+ {name} {value}\n"
    assert "is there already" in file.told(name, "add", other)
    assert value in file.done(name, "list").splitlines()
    rows = json.loads(file.done(name, "list", "--json"))
    assert rows[-1]["value"] == value and rows[-1]["source"].startswith(f"{file.path}:")
    assert file.done(name, "remove", other) == f"- {name} {value}\n"
    assert "is not there" in file.told(name, "remove", value, code=1)
    assert file.text == OLD


def test_until_in_hours_is_stored_as_a_time_and_a_note_may_have_a_comma(file):
    before = datetime.datetime.now(datetime.UTC)
    file.done(
        "allowed-host", "add", "b.example", "--until", "2h", "--note", "ticket 7, urgent", "--from", "10.1.0.0/16"
    )
    (line,) = [line for line in file.text.splitlines() if "b.example" in line]
    stored = datetime.datetime.fromisoformat(line.split("until=")[1].split(" ")[0])
    assert line.strip().startswith("b.example from=10.1.0.0/16 until=") and line.endswith('note="ticket 7, urgent"')
    assert abs(stored - before - datetime.timedelta(hours=2)) < datetime.timedelta(minutes=1)
    assert stored.utcoffset() == datetime.timedelta(0)


def test_a_name_in_quotes_is_the_name(file):
    for name in ("cn:Till 17", '"cn:Till 17"', 'cn:"Till 17"'):
        file.done("allowed-host", "add", "b.example", "--from", name, "--stage", "canary")
    assert file.done("allowed-host", "list").splitlines() == ["a.example", 'b.example from="cn:Till 17" stage=canary']


@pytest.mark.parametrize("words", [("allowed-host", "add", "b.example"), ("config", "set", "idle-timeout", "90s")])
def test_where_the_gateway_watches_its_files_no_reload_is_asked_for(file, words):
    for watched in ("no", "yes"):
        file.write(f"{OLD}reload-on-change = {watched}\n")
        with Gateway("--config", str(file.path), "--run-dir", str(file.folder)):
            told = file.told(*words)
            assert ("takes the change by itself (reload-on-change)" in told) is (watched == "yes")
            assert ("takes the change with `ogw reload`" in told) is (watched == "no")


def test_another_note_takes_the_place_of_the_old_one(file):
    file.done("allowed-host", "add", "b.example", "--note", "old")
    said = file.done("allowed-host", "add", "b.example", "--note", "new")
    assert said == '- allowed-host b.example note="old"\n+ allowed-host b.example note="new"\n'
    assert file.text.count("b.example") == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["allowed-host", "add", "*"], 2, "'*': a star needs two labels behind it, as in *.example.com"),
        (["allowed-host", "add", "https://a.example/"], 2, "a rule names a host, not a URL"),
        (["allowed-host", "add", "b.example", "--from", "nowhere"], 2, "nowhere"),
        (["allowed-host", "add", "b.example", "--until", "soon"], 2, "until 'soon': neither a time"),
        (["allowed-host", "add", "b.example", "--note", 'a"b'], 2, "a note must not have double quotes"),
        (["allowed-host", "add", "b.example", "--from", "cn:till-17,cn:till-18"], 2,
         "right is --from cn:till-17 --from cn:till-18"),
        (["allowed-host", "add", "b.example", "--from", "cn:till-17, 10.1.0.0/16"], 2,
         "right is --from cn:till-17 --from 10.1.0.0/16"),
        (["allowed-host", "add", "b.example", "--from", 'cn:a"b'], 2, "whose name has double quotes in it"),
        (["allowed-client", "add", "10.1.0.0/33"], 2, "'10.1.0.0/33'"),
        (["allowed-host", "ad", "b.example"], 2, "choose from"),
        (["allowed-host", "add"], 2, "required"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_changed(file, words, code, says):
    assert says in file.told(*words, code=code)
    assert file.text == OLD and not file.changes


def test_one_wrong_rule_of_several_and_none_is_added(file):
    file.told("allowed-host", "add", "b.example", "*", code=2)
    assert file.text == OLD


def test_a_reload_lets_new_targets_pass_and_open_tunnels_stay(file):
    with Server(echo) as old, Server(echo) as new:
        file.write(OLD.replace("a.example", old.host))
        with Gateway("--config", str(file.path)) as gateway:
            tunnel = gateway.tunnel(old.target)
            refused, head = gateway.ask(new.target)
            refused.close()
            assert b" 403 " in head
            end = file.run("allowed-host", "add", new.host, "--reload", OGW_RUN_DIR=gateway.run_dir, SUDO_USER="alice")
            assert end.returncode == 0 and "reloaded, changed: allowed-host" in end.stdout
            gateway.tunnel(new.target).close()
            tunnel.sendall(b"still")
            assert read_exactly(tunnel, 5) == b"still"
            tunnel.close()
            line = gateway.wait_for(event=100, message=CHANGED)
            assert line["by"].startswith("alice (") and line["file"] == str(file.path)
            assert (line["added"], line["removed"]) == ([f"allowed-host {new.host}"], [])
            assert line["old_policy"] != line["new_policy"]
    assert not file.changes  # the gateway wrote it


def test_without_a_gateway_reload_exits_with_3_and_the_change_is_in_the_log_file(file):
    assert "no gateway to ask" in file.told("allowed-host", "add", "b.example", "--reload", code=3)
    (line,) = file.changes
    assert (line["event"], line["message"], line["added"]) == (100, CHANGED, ["allowed-host b.example"])
    assert "b.example" in file.text


def test_all_that_is_in_force_is_shown_and_no_rule_that_ended_or_is_of_another_stage(file):
    rules = ["a.example", "b.example until=2020-01-01T00:00:00Z", "c.example stage=canary", 'd.example note="x, y"']
    for name in ("allowed-host", "denied-host"):
        file.write(f"[ogw]\nstage = pilot\n{name} =\n" + "".join(f"    {rule}\n" for rule in rules))
        told = json.loads(file.done(name, "list", "--all", "--json"))
        assert told == [
            {"value": rules[0], "source": f"{file.path}:4"},
            {"value": rules[3], "source": f"{file.path}:7"},
        ]
        assert [one["value"] for one in json.loads(file.done(name, "list", "--json"))] == rules


WORKSPACE = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("own", ["till-7", ""])
def test_subjects_of_the_agent_are_shown_where_they_are_in_force(file, tmp_path, own):
    """They are added to a list, and begin none: without one every certificate passes."""
    agent = tmp_path / "omsadmin.conf"
    agent.write_text(f"WORKSPACE_ID={WORKSPACE}\nOMS_ENDPOINT=https://a.example.com/\n")
    file.write(f"[ogw]\nallowed-client-certificate = {own}\nagent-config = {agent}\n")
    told = json.loads(file.done("allowed-client-certificate", "list", "--all", "--json"))
    assert told == [
        {"value": own, "source": f"{file.path}:2"},
        {"value": WORKSPACE, "source": f"agent-config {agent}"},
    ] * bool(own)
    assert [one["value"] for one in json.loads(file.done("allowed-client-certificate", "list", "--json"))] == [
        own
    ] * bool(own)


def test_names_of_certificates_and_stages_are_attributes_too(file):
    words = ("--from", "cn:Till 17, left", "--from", "10.1.0.0/16", "--stage", "canary")
    rule = 'b.example from="cn:Till 17, left" from=10.1.0.0/16 stage=canary'
    assert file.done("allowed-host", "add", "b.example", *words) == f"+ allowed-host {rule}\n"
    added = file.done("allowed-host", "add", "c.example", "from=cn:Till 17, left", "stage=canary", "d.example")
    assert added == '+ allowed-host c.example from="cn:Till 17, left" stage=canary\n+ allowed-host d.example\n'
    told = file.told("denied-host", "add", "e.example", "--from", "cn:till-17", code=2)
    assert "whoever shows no certificate would escape it" in told
    told = file.told("allowed-host", "add", "e.example", "--from", "cn:till-17", code=1)
    assert "set listen-client-certificate = required" in told


@pytest.mark.parametrize(
    "words",
    [
        ["allowed-host", "add", "b.example from=10.0.0.0/8,10.1.0.0/16"],
        ["allowed-host", "add", "b.example", "from=10.0.0.0/8,10.1.0.0/16"],
        ["allowed-host", "add", "b.example", "--from", "10.0.0.0/8,10.1.0.0/16"],
        ["config", "add", "allowed-host", "b.example from=10.0.0.0/8, 10.1.0.0/16"],
        ["config", "set", "denied-host", "b.example from=10.0.0.0/8,10.1.0.0/16"],
    ],
)
def test_a_comma_between_clients_adds_no_target(file, words):
    told = file.told(*words, code=2)
    assert "right is from=10.0.0.0/8 from=10.1.0.0/16; where 10.1.0.0/16 is a rule of its own" in told
    assert file.text == OLD


def test_what_is_left_of_a_line_is_never_read_as_something_else(file):
    file.write("[ogw]\nallowed-host = a.example from=10.0.0.0/8, b.example, 192.0.2.7, c.example\n")
    file.done("allowed-host", "remove", "b.example")
    listed = ["a.example from=10.0.0.0/8", "192.0.2.7", "c.example"]
    assert file.done("allowed-host", "list").splitlines() == listed
    file.done("allowed-host", "remove", "a.example from=10.0.0.0/8")
    assert file.done("allowed-host", "list").splitlines() == listed[1:]
