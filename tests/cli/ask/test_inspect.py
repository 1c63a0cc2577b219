"""`ogw inspect` on recorded handshakes: what an administrator types and sees."""

import json
import os
import subprocess
import sys
import time

import pytest
from harness.gateway import ROOT
from harness.hellos import HANDSHAKES, HOST, RECORDED, extension, hello, recorded, records, server_hello

END = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}


def inspect(*words, input=None):
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "inspect", *map(str, words)],
        cwd=ROOT,
        env=ENVIRONMENT,
        input=input,
        capture_output=True,
        timeout=30,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def answer(*words, **more):
    code, said, _errors = inspect(*words, "--json", **more)
    return code, json.loads(said)


def both(name):
    return "--client", HANDSHAKES / f"{name}.up", "--server", HANDSHAKES / f"{name}.down"


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_session_is_verified(name):
    code, said = answer(*both(name), "--tls-min-version", "1.0", "--allowed-host", HOST)
    assert (code, said["verdict"], said["target allowed"]) == (0, "verified", True)
    assert said["client"]["server names"] == [HOST] and said["server"]["version"] in said["client"]["versions"]


def test_a_hello_alone_is_fine_so_far():
    code, said, errors = inspect(HANDSHAKES / "chromium.up")
    assert code == 0 and errors == ""
    assert "server names                   agent.bench.example" in said and "h2, http/1.1" in said
    assert "verdict: undecided: fine so far" in said


def test_a_rejection_has_its_reason_its_number_and_exit_code_1():
    code, said, _errors = inspect(HANDSHAKES / "openssl-1.1.up")
    assert code == 1 and "verdict: rejected (tls-version, OGW-106): the client offers TLS 1.1 at best" in said


def test_a_connect_in_front_names_the_target():
    up, down = recorded("openssl-1.3")
    code, said = answer("-", input=b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n" + up)
    assert code == 1 and (said["target"], said["reason"]) == ("www.example.com:443", "server-name-mismatch")
    assert said["alert"] == "unrecognized_name" and down


def test_an_answer_to_the_connect_is_left_out(tmp_path):
    up, down = recorded("openssl-1.3")
    (tmp_path / "up").write_bytes(b"CONNECT agent.bench.example:443 HTTP/1.1\r\n\r\n" + up)
    (tmp_path / "down").write_bytes(b"HTTP/1.1 200 Connection established\r\n\r\n" + down)
    code, said = answer("--client", tmp_path / "up", "--server", tmp_path / "down")
    assert (code, said["verdict"]) == (0, "verified")


def test_the_target_can_be_named():
    code, said = answer(HANDSHAKES / "node-1.2.up", "--target", "www.example.com:8443")
    assert (code, said["reason"], said["target"]) == (1, "server-name-mismatch", "www.example.com:8443")


def test_client_certificates_are_judged_by_the_gateways_own_flags():
    words = *both("python-1.2-certificate"), "--allowed-host", HOST
    code, said = answer(*words, "--allowed-client-certificate", "till-7")
    assert (code, said["verdict"]) == (0, "verified") and "CN=till-7" in said["subject"]
    code, said = answer(*words, "--allowed-client-certificate", "till-8")
    assert (code, said["reason"], said["event"]) == (1, "client-certificate-not-allowed", 105)


def test_a_retry_and_an_alert_are_named(tmp_path):
    (tmp_path / "up").write_bytes(hello())
    (tmp_path / "down").write_bytes(records(server_hello(retry=True)))
    code, said = answer("--client", tmp_path / "up", "--server", tmp_path / "down")
    assert code == 0 and said["server"]["hello retry request"] and said["verdict"] == "undecided"
    (tmp_path / "down").write_bytes(bytes((21, 3, 3, 0, 2, 2, 40)))
    code, said = answer("--client", tmp_path / "up", "--server", tmp_path / "down")
    assert code == 1 and "alert 40 (handshake_failure)" in said["detail"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "rejected (not-tls, OGW-106)"),
        (b"\x16", "the client's bytes end before it is decided"),
        (hello(b"a b"), "rejected (server-name-invalid, OGW-106)"),
        (hello(None), "rejected (server-name-missing, OGW-106)"),
        (hello(b"a.example", extension(0x0A0A, b"")[:-1]), "rejected (malformed-handshake, OGW-402)"),
        (hello(b"a\x1b[2Jb.example"), "a\\x1b[2Jb.example"),
    ],
)
def test_bad_input_has_an_answer(data, words):
    _code, said, _errors = inspect("-", input=data)
    assert words in said and "\x1b" not in said


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", b"\x16", hello(None), hello(b"a b")])
def test_a_target_that_nothing_names_is_not_made_up(data):
    for flags in ((), ("--policy-mode", "report", "--report-until", END)):
        _code, said, _errors = inspect("-", *flags, input=data)
        assert "target:  no target is known; name it with --target\n" in said and "allowed-host" not in said
        _code, value = answer("-", *flags, input=data)
        assert (value["target"], value["target allowed"]) == (None, None)
        assert value["target reason"] == "no target is known; name it with --target"


def test_a_session_without_a_server_name_and_a_target_is_rejected_as_it_would_be_without_a_rule_of_its_own():
    code, said = answer("-", input=hello(None))
    assert (code, said["reason"]) == (1, "server-name-missing")
    assert said["detail"].endswith("; no-server-name in the rule of the target would let it pass")
    words = ("--target", "10.1.2.3", "--allowed-host", "10.1.2.3 no-server-name")
    assert answer("-", *words, input=hello(None))[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the client's bytes"),
        (("-", "--client", "x"), "name the client's bytes"),
        (("/nowhere",), "/nowhere: No such file or directory"),
        (("-",), "the client's bytes are empty"),
        (("-", "--server", "x"), "--server needs --client"),
        ((HANDSHAKES / "java.up", "--target", "a b"), "--target: the host of the target"),
        (
            (HANDSHAKES / "java.up", "--target", "b\u00fccher.example"),
            "--target: the host is not ASCII; its A-label form",
        ),
        ((HANDSHAKES / "java.up", "--client-address", "x"), "'x' is no IP address"),
        ((HANDSHAKES / "java.up", "--tls-min-version", "2"), "is no version of TLS"),
        ((HANDSHAKES / "java.up", "--tls-min"), "there is no such flag"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(words, message):
    code, said, errors = inspect(*words, input=b"")
    assert (code, said) == (2, "") and message in errors


def test_where_the_rules_only_report_it_says_that_it_would_pass():
    for mode in ("report", "off"):
        code, said, _errors = inspect(HANDSHAKES / "openssl-1.0.up", "--tls-rules", mode)
        assert code == 0 and "rejected (tls-version" in said and "the gateway would let the session pass" in said


def test_standard_input_is_one_side_only():
    code, _said, errors = inspect("--client", "-", "--server", "-", input=b"x")
    assert code == 2 and "standard input, -, is one file" in errors


@pytest.mark.parametrize("begin", ["d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a"])
def test_a_capture_of_packets_is_told_as_one(tmp_path, begin):
    capture = tmp_path / "p.pcap"
    capture.write_bytes(bytes.fromhex(begin) + bytes(100))
    for words in ((capture,), ("--client", HANDSHAKES / f"{RECORDED[0]}.up", "--server", capture)):
        code, _said, errors = inspect(*words)
        assert code == 2 and "it is a capture of packets" in errors and "Follow, TCP Stream, Raw" in errors
