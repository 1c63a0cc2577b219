"""Signed lists from a real server to a real gateway: what is taken, what is refused and why, what stays in force."""

import os
import sys
import time

import pytest
from harness.admin import ask
from harness.gateway import Gateway
from harness.lists import ListServer, say
from harness.signing import Signer
from harness.waiting import PATIENCE, until

from ogw.settings.elsewhere.copies import Copy, place_of, read_copy, write_copy
from ogw.settings.elsewhere.record import SUFFIX, read_record

SIGNER, OTHER = Signer(), Signer()


@pytest.fixture
def server(authority):
    with ListServer(authority) as server:
        yield server


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def start(authority_file, state):
    """Starts gateways that share a state-dir and a source."""

    def start(source, *keys, **more):
        words = [word for key in keys for word in ("--allowed-host-source-key", key)]
        flags = ("--allowed-target-network", "127.0.0.0/8", "--state-dir", state, "--log-level", "debug")
        return Gateway(
            *flags, "--allowed-host-source", source, *words, environment={"SSL_CERT_FILE": authority_file}, **more
        )

    return start


def allows(gateway, host):
    with gateway.connect() as sock:
        sock.sendall(f"CONNECT {host}:9 HTTP/1.1\r\n\r\n".encode())
        return b"host-not-allowed" not in sock.recv(4096)


def reload(gateway):
    """Ask for the list anew; the lines of this reload and what comes of the download follow."""
    seen = len(gateway.lines)
    assert ask(gateway, "/reload", "POST")[0] == 200
    return seen


def next_line(gateway, seen, *events):
    """The first line of one of these events that came after `seen` lines."""
    found = []

    def came():
        found[:] = [line for line in gateway.lines[seen:] if line["event"] in events]
        return found

    until(came)
    return found[0]


def body_of(host):
    return f"{host}\n".encode()


GOOD, BAD, BETTER = "127.9.9.1:9", "127.9.9.2:9", "127.9.9.3:9"


def put(server, host, serial, signer=SIGNER, **more):
    server.put(body_of(host), signer.sign(body_of(host), serial, **more))


def test_a_list_is_taken_with_its_signature_alone_and_every_fault_has_its_reason(start, server, state):
    """One gateway, through all of them: what was in force stays in force, and a good list is taken after each."""
    put(server, GOOD, 100)
    with start(server.url, SIGNER.word) as gateway:
        assert gateway.wait_for(event=111)["count"] == 1
        gateway.wait_for(event=109)
        assert allows(gateway, "127.9.9.1")
        new = body_of(BAD)
        faults = {
            "list-signature-missing": (None, f"there is no signature at {server.url}.sig: the server answered 404"),
            "list-signature-malformed": (SIGNER.sign(new, 101)[:-9], "its signature cannot be read"),
            "list-key-unknown": (OTHER.sign(new, 101), f"it is signed with the key {OTHER.word}, which is not in"),
            "list-signature-wrong": (OTHER.sign(new, 101, key=SIGNER.word), "its signature is forged or damaged"),
            "list-name-wrong": (SIGNER.sign(new, 101, name="other.txt"), "that of a list named other.txt, and not of"),
            "list-signature-mismatch": (SIGNER.sign(b"x.example\n", 101), "its signature is that of another content"),
            "list-signature-expired": (
                SIGNER.sign(new, 101, expires="2020-01-01T00:00:00Z"),
                "its signature expired at 2020-01-01T00:00:00Z, and by the clock of this machine it is 20",
            ),
            "list-serial-old": (SIGNER.sign(new, 99), "its serial 99 is lower than 100"),
        }
        for reason, (signature, words) in faults.items():
            server.put(new, signature)
            seen = reload(gateway)
            line = next_line(gateway, seen, 303, 301, 111)
            assert (line["event"], line["reason"], line["source"]) == (303, reason, server.url)
            assert words in line["message"] and line["message"].endswith("; the last good list stays in force")
            assert len(gateway.events(303)) == list(faults).index(reason) + 1
        server.put(new, SIGNER.sign(new, 100))
        seen = reload(gateway)
        until(lambda: "serial 100 was seen before" in ask(gateway, "/sources")[2].decode())
        assert allows(gateway, "127.9.9.1") and not allows(gateway, "127.9.9.2")
        status = ask(gateway, "/status")[2].decode()
        assert "The list " in status and "stays in force: its serial 100 was seen before, with another" in status
        assert 'ogw_source_failing{source="1"} 1.0' in ask(gateway, "/metrics")[2].decode()
        put(server, BETTER, 101)
        seen = reload(gateway)
        assert next_line(gateway, seen, 111)["rules_added"] == 1
        until(lambda: allows(gateway, "127.9.9.3"))
        until(lambda: 'ogw_source_serial{source="1"} 101.0' in ask(gateway, "/metrics")[2].decode())
        metrics = ask(gateway, "/metrics")[2].decode()
        for sample in ("failing", "rolled_back"):
            assert f'ogw_source_{sample}{{source="1"}} 0.0' in metrics
        assert 'ogw_source_expiry_time_seconds{source="1"} 4.0709088e+09' in metrics
    assert read_copy(state, server.url, 1000).signature.encode() == server.signature


def test_a_list_and_a_signature_that_do_not_fit_are_fetched_once_more(start, server):
    """As from a server that is being changed: the list of before with the signature of now."""
    old, new = body_of(GOOD), body_of(BETTER)
    server.signature = SIGNER.sign(new, 2)
    server.answer = lambda tls, head: say(tls, 200, old if len(server.asked_for_list) == 1 else new)
    with start(server.url, SIGNER.word) as gateway:
        assert gateway.wait_for(event=111)["count"] == 1
        assert len(server.heads) == 4 and not gateway.events(303)
        until(lambda: allows(gateway, "127.9.9.3"))


def test_a_list_that_has_not_changed_is_not_sent_again_but_its_signature_is_looked_at(start, server, state):
    put(server, GOOD, 1)
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=109)
        put(server, GOOD, 2, expires="2098-01-01T00:00:00Z")
        seen = reload(gateway)
        next_line(gateway, seen, 111)
        assert "If-None-Match" in server.asked_for_list[-1]
        assert 'ogw_source_serial{source="1"} 2.0' in ask(gateway, "/metrics")[2].decode()
        assert len([line for line in gateway.events(109) if line["changed"]]) == 1, "the rules are the same"
        put(server, GOOD, 3, expires="2020-01-01T00:00:00Z")
        seen = reload(gateway)
        assert next_line(gateway, seen, 303)["reason"] == "list-signature-expired"
        assert "If-None-Match" in server.asked_for_list[-1] and allows(gateway, "127.9.9.1")
    assert read_record(state, server.url).serials[SIGNER.word].serial == 2
    assert not os.path.exists(place_of(state, server.url, ".before")), "it is the same list"


def test_a_replay_is_refused_after_a_restart_and_without_the_copy_too(start, server, state):
    put(server, GOOD, 5)
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=109)
    put(server, BAD, 4)
    with start(server.url, SIGNER.word) as gateway:
        assert gateway.wait_for(event=303)["reason"] == "list-serial-old"
        assert allows(gateway, "127.9.9.1") and not allows(gateway, "127.9.9.2")
    os.unlink(place_of(state, server.url))
    with start(server.url, SIGNER.word) as gateway:
        line = gateway.wait_for(event=303)
        assert line["reason"] == "list-serial-old" and line["message"].endswith("there is no good list of it yet")
        assert not allows(gateway, "127.9.9.1") and not allows(gateway, "127.9.9.2")
    put(server, GOOD, 5)
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=111)
        until(lambda: allows(gateway, "127.9.9.1"))


def test_a_key_is_changed_without_a_gap_and_the_removed_one_is_refused_after_a_restart(start, server):
    put(server, GOOD, 5)
    with start(server.url, SIGNER.word, OTHER.word) as gateway:
        gateway.wait_for(event=109)
        put(server, BETTER, 6, OTHER)
        seen = reload(gateway)
        next_line(gateway, seen, 111)
        until(lambda: allows(gateway, "127.9.9.3"))
    with start(server.url, OTHER.word) as gateway:
        assert allows(gateway, "127.9.9.3") and not gateway.events(303)
    with start(server.url, SIGNER.word) as gateway:
        told = f"allowed-host-source: {server.url}: its copy cannot be used: it is signed with the key {OTHER.word}, "
        until(lambda: any(line["message"].startswith(told) for line in gateway.events(100)))
        assert gateway.wait_for(event=303)["reason"] == "list-key-unknown"
        assert not allows(gateway, "127.9.9.3")
    with start(server.url, SIGNER.word, OTHER.word) as gateway:
        assert allows(gateway, "127.9.9.3"), "with the key it is good again, without the server"


def test_a_forged_copy_on_the_disk_is_refused_after_a_restart(start, server, state):
    put(server, GOOD, 5)
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=109)
    kept = read_copy(state, server.url, 1000)
    write_copy(state, kept._replace(body=body_of(BAD)))
    server.signature = None
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=303)
        assert not allows(gateway, "127.9.9.2")
        assert any("its copy cannot be used: its signature is that of another" in one["message"]
                   for one in gateway.events(100))  # fmt: skip


def test_a_signature_that_expires_while_its_list_is_in_force_is_told_and_stops_nothing(start, server):
    put(server, GOOD, 5)
    with start(server.url, SIGNER.word) as gateway:
        gateway.wait_for(event=109)
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3 * PATIENCE + 1))
        put(server, GOOD, 6, expires=soon)
        reload(gateway)
        until(lambda: 'ogw_source_serial{source="1"} 6.0' in ask(gateway, "/metrics")[2].decode())
        assert soon in gateway.wait_for(event=304)["message"]
        assert allows(gateway, "127.9.9.1")
        assert "Is the next signature withheld?" in ask(gateway, "/status")[2].decode()
        assert len(gateway.events(304)) == 1
        put(server, GOOD, 7)
        seen = reload(gateway)
        next_line(gateway, seen, 111)
        assert "withheld" not in ask(gateway, "/status")[2].decode()


def test_the_name_behind_the_mark_and_a_query(start, server):
    server.put(body_of(GOOD), SIGNER.sign(body_of(GOOD), 1, name="shops"))
    with start(f"{server.url}?token=s3cret#shops", SIGNER.word) as gateway:
        gateway.wait_for(event=109)
        asked = [head.split()[1] for head in server.heads]
        assert asked[:2] == ["/hosts.txt?token=s3cret", "/hosts.txt.sig?token=s3cret"]
    assert "s3cret" not in str(gateway.lines)


def test_turning_keys_on_fetches_the_signature_of_what_was_kept_without_one(start, server):
    put(server, GOOD, 1)
    with start(server.url) as gateway:
        gateway.wait_for(event=109)
        assert len(server.heads) == 1, "without a key nobody asks for a signature"
    with start(server.url, SIGNER.word) as gateway:
        assert gateway.wait_for(event=111)["count"] == 1
        until(lambda: allows(gateway, "127.9.9.1"))
        assert "If-None-Match" not in server.asked_for_list[-1]


AHEAD = """
import sys, time
now = time.time
time.time = lambda: now() + 20 * 366 * 86400
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def test_a_clock_that_is_ahead_refuses_what_came_says_so_and_stops_nothing(start, server, state):
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30 * 86400))
    signature = SIGNER.sign(body_of(GOOD), 5, expires=expires).decode()
    write_copy(state, Copy(server.url, "", "", 1.0, body_of(GOOD), signature))
    put(server, BETTER, 6, expires=expires)
    with start(server.url, SIGNER.word, program=[sys.executable, "-c", AHEAD]) as gateway:
        line = gateway.wait_for(event=303)
        assert line["reason"] == "list-signature-expired"
        assert f"expired at {expires}, and by the clock of this machine it is 204" in line["message"]
        assert gateway.wait_for(event=304) and allows(gateway, "127.9.9.1")


# Rollbacks.


@pytest.mark.parametrize("keys", [(), (SIGNER.word,)], ids=["unsigned", "signed"])
def test_a_rollback_holds_until_another_list_comes(start, server, keys):
    put(server, GOOD, 1)
    with start(server.url, *keys) as gateway:
        gateway.wait_for(event=109)
        put(server, BAD, 2)
        seen = reload(gateway)
        next_line(gateway, seen, 111)
        until(lambda: allows(gateway, "127.9.9.2"))
        path = f"/roll-back?source={server.url}&by=me"
        assert ask(gateway, path, "POST")[0] == 200
        line = gateway.wait_for(event=115)
        assert (line["by"], line["source"], line["count"]) == ("me", server.url, 1)
        assert allows(gateway, "127.9.9.1") and not allows(gateway, "127.9.9.2")
        code, _headers, body = ask(gateway, path, "POST")
        assert code == 409 and b"was rolled back at " in body
        seen = reload(gateway)
        assert "was rolled back here, and is not taken" in next_line(gateway, seen, 111)["message"]
        put(server, BAD, 3)  # signed anew, as a timer does
        seen = reload(gateway)
        assert "was rolled back here, and is not taken" in next_line(gateway, seen, 111)["message"]
        assert 'ogw_source_rolled_back{source="1"} 1.0' in ask(gateway, "/metrics")[2].decode()
    with start(server.url, *keys) as gateway:
        assert allows(gateway, "127.9.9.1")
        line = gateway.wait_for(event=111)
        assert "was rolled back here" in line["message"] and not allows(gateway, "127.9.9.2")
        assert any("by me: the list before it is in force" in one["message"] for one in gateway.events(100))
        put(server, BETTER, 4)
        seen = reload(gateway)
        assert next_line(gateway, seen, 111)["rules_added"] == 1
        until(lambda: allows(gateway, "127.9.9.3"))
        assert 'ogw_source_rolled_back{source="1"} 0.0' in ask(gateway, "/metrics")[2].decode()
        assert ask(gateway, path, "POST")[0] == 200, "and the one before this is there again"
        until(lambda: allows(gateway, "127.9.9.1"))
        assert ask(gateway, f"{path}&undo=1", "POST")[0] == 200
        assert allows(gateway, "127.9.9.3")


def test_what_cannot_be_rolled_back_says_why(start, server, state):
    put(server, GOOD, 1)
    with start(server.url) as gateway:
        gateway.wait_for(event=109)
        for path, words in {
            f"/roll-back?source={server.url}": "no list before the one of now is kept",
            f"/roll-back?source={server.url}&undo=1": "it is not rolled back",
            "/roll-back?source=https://other.example/": f"there is {server.url}",
            "/roll-back": "no list is fetched from ''",
        }.items():
            code, _headers, body = ask(gateway, path, "POST")
            assert code == 409 and words in body.decode()
        assert ask(gateway, "/roll-back")[0] == 405
        assert not os.path.exists(place_of(state, server.url, SUFFIX))
