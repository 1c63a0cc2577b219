"""`ogw events`: every number and every reason has a text, and names only what exists."""

import json
import re

import pytest
from harness.commands import ogw

from ogw.cli.commands import COMMANDS
from ogw.policy.advice import REASONS
from ogw.policy.decision import Reason
from ogw.policy.event_advice import EVENTS
from ogw.policy.list_advice import LIST_REASONS
from ogw.report.events import CATALOGUE, Field
from ogw.settings.elsewhere.signature import ListReason
from ogw.settings.settings import SETTINGS

TEXTS = [text for advice in (*EVENTS.values(), *REASONS.values()) for text in advice]


def test_every_event_has_a_text():
    assert EVENTS.keys() == CATALOGUE.keys()


def test_every_reason_has_a_text():
    assert REASONS.keys() == {reason.token for reason in Reason if reason is not Reason.ALLOWED}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_name_only_what_exists(text):
    fields = {value for name, value in vars(Field).items() if name.isupper()}
    commands = {f"ogw {command.words}" for command in COMMANDS}
    others = {"received-status", "out of memory", "host:port", "host:8084", "to=NETWORK", "no-server-name"}
    others |= {"ogw allowed-host add", "until=", "tls://", "https://", "http://", "required", "clientAuth"}
    others |= {"--proxy-cert", "--proxy-key", "openssl s_client -connect GATEWAY:PORT"}
    others |= {"socks5://", "socks5h://", "auto", "negotiate", "qop=auth", "HTTP/", "HTTP@"}
    others |= {"krb5.conf", "klist -k", "kinit -k -t", "kvno", "auth_param ntlm keep_alive on"}
    for marked in re.findall("`([^`]+)`", text):
        name, _equals, value = marked.partition(" = ")
        if _equals:
            assert name in SETTINGS and (not SETTINGS[name].default or value in SETTINGS[name].help), marked
        else:
            assert marked in SETTINGS.keys() | fields | commands | others, marked


def test_a_text_is_a_sentence_and_what_to_do_stands_in_a_table():
    for advice in (*EVENTS.values(), *REASONS.values()):
        assert advice.means.endswith(".") and advice.means[0] in advice.means[0].upper() + "`"
        assert not advice.do.endswith(".") and "|" not in advice.do


def test_the_table_has_all_events_and_their_reasons():
    done = ogw("events")
    assert (done.returncode, done.stderr) == (0, "")
    for number, (_level, name) in CATALOGUE.items():
        assert any(line.startswith(f"OGW-{number}  {name}") for line in done.stdout.splitlines())
    for token in REASONS:
        assert token in done.stdout


@pytest.mark.parametrize("typed", ["105", "OGW-105", "ogw-105", "ogw105"])
def test_an_event_is_found_as_it_is_written(typed):
    done = ogw("events", typed)
    assert done.returncode == 0 and done.stdout.startswith("OGW-105 target not allowed  (warning)\n")
    assert "What to do: " in done.stdout and "client-certificate-unseen" in done.stdout


@pytest.mark.parametrize("number", CATALOGUE)
def test_each_event_can_be_asked_for(number):
    from ogw.cli.ask.events import _event
    from ogw.cli.screen import plain

    shown = plain(*_event(number))
    assert shown.startswith(f"OGW-{number} ") and "What to do: " in shown


def test_a_reason_can_be_asked_for():
    done = ogw("events", "Host-Not-Allowed")
    assert done.returncode == 0
    assert done.stdout.startswith("host-not-allowed  (the client is answered 403)\n")
    assert "reported by OGW-105" in done.stdout


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("999", "there is no event 999; `ogw events` lists all"),
        ("502", "there is no event 502; the status 502 of an answer comes with the reasons dns-error"),
        ("host-not-alowed", "; did you mean host-not-allowed?"),
        ("1٣", "is neither the number of an event nor a reason"),
        ("\x1b[2J", r"'\x1b[2J' is neither"),
        ("", "'' is neither"),
    ],
)
def test_what_does_not_exist_is_2(typed, says):
    done = ogw("events", typed)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr


def test_the_same_as_json():
    every = json.loads(ogw("events", "--json").stdout)
    assert [one["event"] for one in every] == list(CATALOGUE)
    one = json.loads(ogw("events", "OGW-105", "--json").stdout)
    assert one in every and one["means"] == EVENTS[105].means
    reason = json.loads(ogw("events", "host-not-allowed", "--json").stdout)
    assert reason in one["reasons"] and (reason["event"], reason["status"]) == (105, 403)
    assert ogw("events", "999", "--json").returncode == 2


def test_the_status_403_is_not_mixed_up_with_the_event():
    assert (
        "The status 403 of an answer is something else: it comes with the reasons client-not-allowed"
        in ogw("events", "403").stdout
    )


def test_every_reason_of_a_list_that_is_not_trusted_is_explained_as_part_of_its_event():
    assert set(LIST_REASONS) == {reason.value for reason in ListReason}
    assert not {*LIST_REASONS} & {*REASONS}
    done = ogw("events", "list-serial-old")
    assert done.returncode == 0 and "reported by OGW-303" in done.stdout, done.stderr
    told = json.loads(ogw("events", "303", "--json").stdout)
    assert [one["reason"] for one in told["reasons"]] == list(LIST_REASONS)
    assert all(token in ogw("events", "303").stdout for token in LIST_REASONS)
    assert "did you mean list-serial-old?" in ogw("events", "list-serial-odl").stderr
