"""Lists from a server while the gateway reloads: what is asked for anew, and what is told to be in force."""

import threading

import pytest
from harness.admin import ask, metrics
from harness.gateway import Gateway
from harness.lists import ListServer, say
from harness.signing import Signer
from harness.upstreams import Server
from harness.waiting import until

from ogw.settings.elsewhere.copies import place_of, read_copy

SIGNER, OTHER = Signer(), Signer()
GOOD, BETTER, BAD = "127.9.9.1", "127.9.9.2", "127.9.9.3"


@pytest.fixture
def server(authority):
    with ListServer(authority) as server:
        yield server


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def ini(tmp_path):
    return tmp_path / "ogw.ini"


@pytest.fixture
def start(authority_file, server, state, ini):
    """Starts a gateway with these lines in its INI file."""

    def start(*lines, **more):
        write(ini, *lines, **more)
        flags = ("--config", str(ini), "--state-dir", state, "--allowed-host-source", server.url)
        network = ("--allowed-target-network", "127.0.0.0/8")
        return Gateway(*flags, *network, environment={"SSL_CERT_FILE": authority_file})

    return start


def write(ini, *lines, watched="yes"):
    fresh = ini.with_name("fresh")
    fresh.write_text("\n".join(["[ogw]", f"reload-on-change = {watched}", *lines]))
    fresh.rename(ini)


def keys(*signers):
    return "\n  ".join(["allowed-host-source-key =", *(signer.word for signer in signers)])


def put(server, host, serial, signer=SIGNER):
    body = f"{host}\n".encode()
    server.put(body, signer.sign(body, serial))


def allows(gateway, host):
    with gateway.connect() as sock:
        sock.sendall(f"CONNECT {host}:9 HTTP/1.1\r\n\r\n".encode())
        return b"host-not-allowed" not in sock.recv(4096)


def held(server):
    """Answers with the list as it is when it is asked for, but not before this event is set."""
    go = threading.Event()

    def answer(tls, _head):
        body = server.body
        go.wait(60)
        say(tls, 200, body)

    server.answer = answer
    return go


def reload(gateway):
    assert ask(gateway, "/reload", "POST")[0] == 200


# Asked for anew.


def test_a_list_that_a_new_key_puts_out_of_force_is_asked_for_at_once(start, server, ini):
    put(server, GOOD, 1)
    with start() as gateway:
        until(lambda: allows(gateway, GOOD))
        write(ini, keys(SIGNER))
        until(lambda: any("it was kept without a signature" in line["message"] for line in gateway.events(100)))
        until(lambda: len(server.asked_for_list) == 2)
        until(lambda: allows(gateway, GOOD))


def test_a_download_without_the_new_key_is_ended_and_begun_anew(start, server, ini):
    put(server, GOOD, 1)
    go = held(server)
    with start() as gateway:
        until(lambda: server.asked_for_list)
        write(ini, keys(SIGNER))
        assert "allowed-host-source-key" in gateway.wait_for(event=109)["changed"]
        go.set()
        until(lambda: allows(gateway, GOOD))
        assert len([line for line in gateway.events(111) if line["rules_added"]]) == 1


def test_a_download_by_a_key_that_is_removed_does_not_replace_the_list_in_force(start, server, ini, state):
    put(server, GOOD, 1)
    with start(keys(SIGNER, OTHER)) as gateway:
        until(lambda: allows(gateway, GOOD))
        go = held(server)
        put(server, BAD, 2, OTHER)
        reload(gateway)
        until(lambda: len(server.asked_for_list) == 2)
        write(ini, keys(SIGNER))
        gateway.wait_for(event=109, changed=["allowed-host-source-key"])
        go.set()
        line = gateway.wait_for(event=303)
        assert line["reason"] == "list-key-unknown" and "the last good list stays in force" in line["message"]
        assert allows(gateway, GOOD) and not allows(gateway, BAD)
    assert read_copy(state, server.url, 1000).body == f"{GOOD}\n".encode()


def test_a_list_that_is_being_downloaded_is_asked_for_once_more_where_somebody_wants_it_fresh(start, server):
    put(server, GOOD, 1)
    with start() as gateway:
        until(lambda: allows(gateway, GOOD))
        go = held(server)
        reload(gateway)
        until(lambda: len(server.asked_for_list) == 2)
        put(server, BETTER, 2)
        reload(gateway)
        go.set()
        until(lambda: allows(gateway, BETTER))
        assert len(server.asked_for_list) == 3


def test_a_list_whose_copy_a_reload_cannot_use_is_asked_for_at_once(start, server, ini, state):
    put(server, GOOD, 1)
    with start() as gateway:
        until(lambda: allows(gateway, GOOD))
        with open(place_of(state, server.url), "r+b") as file:
            file.write(b"{ half")
        write(ini, "denied-host = x.example")
        gateway.wait_for(event=109, changed=["denied-host", "allowed-host-source"])
        until(lambda: len(server.asked_for_list) == 2)
        until(lambda: allows(gateway, GOOD))


def test_a_download_that_is_on_a_way_which_changes_is_ended_and_begun_on_the_new_one(start, server, ini):
    asked = []

    def serve(connection):
        asked.append(connection.recv(1000))
        connection.recv(1)

    put(server, GOOD, 1)
    with Server(serve) as silent:
        lines = ("source-timeout = 1h", "dial-timeout = 5m", f"relay-proxy = http://{silent.target}")
        with start(*lines) as gateway:
            until(lambda: asked)
            write(ini, *lines, f"relay-proxy-bypass = {server.host}")
            until(lambda: allows(gateway, GOOD))


# Told to be in force.


def test_a_list_that_a_refused_reload_did_not_take_is_not_told_as_in_force_and_is_taken_later(start, server, ini):
    def serial():
        return metrics(gateway)['ogw_source_serial{source="1"}']

    lines = ("source-refresh = 1s", keys(SIGNER))
    put(server, GOOD, 1)
    with start(*lines, watched="no") as gateway:
        until(lambda: allows(gateway, GOOD))
        write(ini, *lines, "denied-host = *.com", watched="no")
        put(server, BETTER, 2)
        gateway.wait_for(event=401)
        seen = len(server.asked_for_list)
        until(lambda: len(server.asked_for_list) >= seen + 2)  # what came of the first of them is known
        assert serial() == 1 and allows(gateway, GOOD) and not allows(gateway, BETTER)
        write(ini, *lines, watched="no")
        until(lambda: allows(gateway, BETTER))
        until(lambda: serial() == 2)
