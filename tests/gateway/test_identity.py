"""Who a client is by its certificate, where that matters: rules, limits, the log, what commands and the page show."""

import json
import re
import shlex
import socket

import pytest
from cryptography import x509
from harness.admin import asked
from harness.commands import ogw
from harness.dns import Dns
from harness.gateway import Gateway, read_all, read_exactly, read_head
from harness.secure import Secure
from harness.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


TARGET = "shop.example:443"


@pytest.fixture
def configured(tmp_path):
    """A function: the INI file has these host rules for the target, and other lines."""

    def configure(*rules, more=""):
        listed = "".join(f"    shop.example {rule} to=127.0.0.0/8\n" for rule in rules)
        asks = f"listen-client-certificate = required\nlisten-client-ca = {tmp_path}/files/ca.pem\n"
        (tmp_path / "gw.ini").write_text(f"[ogw]\n{asks}{more}allowed-host =\n{listed}")

    return configure


@pytest.fixture
def gateway(tmp_path, configured, upstream):
    configured("from=cn:till-7")
    (tmp_path / "files").mkdir()
    with Dns({"shop.example": [upstream.host]}) as dns:
        flags = ("--config", str(tmp_path / "gw.ini"), *dns.flags)
        with Secure(tmp_path / "files", *flags, required=False) as gateway:
            yield gateway


def answer(gateway, context, target=TARGET):
    """Status line of a CONNECT, and the client's name."""
    with gateway.secure(context) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        return read_head(sock).split(b"\r\n")[0].decode(), name


def test_a_rule_holds_for_its_name_alone_and_every_line_says_who_it_was(gateway, configured):
    configured("from=cn:till-7")
    seven, eight = (gateway.client(gateway.authority.issue(name)) for name in ("till-7", "till-8"))
    told, name = answer(gateway, seven)
    assert told.startswith("HTTP/1.1 200 ")
    closed = gateway.closed(client=name)
    assert closed["client_subject"] == "CN=till-7" and list(closed).index("client_subject") == 8
    told, name = answer(gateway, eight)
    assert told.endswith(": host-not-allowed")
    refused = gateway.wait_for(event=105, client=name)
    assert refused["client_subject"] == "CN=till-8"
    assert "is for other clients than 127.0.0.1 (cn:till-8)" in refused["message"]
    [known] = [one for one in asked(gateway, "/status")["refusals"] if one.get("client_subject") == "CN=till-8"]
    assert "allowed-host add 'shop.example from=cn:till-8 to=127.0.0.0/8'" in known["command"]
    assert ogw(*shlex.split(known["command"])[1:]).returncode == 0
    assert answer(gateway, eight)[0].startswith("HTTP/1.1 200 ")
    [told] = asked(gateway, f"/tunnel?id={refused['tunnel']}")["refusals"]
    assert told["client_subject"] == "CN=till-8"
    with socket.create_connection((gateway.address, 8080), 20) as sock:  # without TLS: nobody
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
        assert b"host-not-allowed" in read_all(sock)
    assert "client_subject" not in gateway.wait_for(event=105, client=name)


def test_open_tunnels_show_their_subject_and_a_reload_asks_for_it(gateway, configured, tmp_path):
    configured("from=cn:till-7", "from=san:eight.example")
    assert asked(gateway, "/reload", "POST")["mistakes"] == []
    seven = gateway.client(gateway.authority.issue("till-7"))
    eight = gateway.client(gateway.authority.issue("till-8", names=["eight.example"]))
    with gateway.through(seven, TARGET) as stays, gateway.through(eight, TARGET) as goes:
        names = ["{}:{}".format(*sock.getsockname()) for sock in (stays, goes)]
        rows = {one["client"]: one["client_subject"] for one in asked(gateway, "/tunnels")["tunnels"]}
        assert rows == dict(zip(names, ("CN=till-7", "CN=till-8"), strict=True))
        [found] = asked(gateway, "/tunnels?text=cn=TILL-8")["tunnels"]
        assert found["client"] == names[1]
        shown = ogw("tunnels", "--run-dir", gateway.run_dir).stdout
        assert "subject" in shown.splitlines()[0] and "CN=till-7" in re.sub(r"\s", "", shown)
        configured("from=cn:till-7", more="reload-rechecks-tunnels = yes\n")
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        assert gateway.closed(client=names[1])["reason"] == "not-allowed-after-reload"
        stays.sendall(b"still")
        assert read_exactly(stays, 5) == b"still"


def test_each_identity_is_a_client_of_its_own_for_limits(tmp_path, upstream):
    san = x509.DNSName("nameless.example")
    with Secure(tmp_path, "--max-tunnels-per-client", "1") as gateway:
        issue = gateway.authority.issue
        contexts = [gateway.client(one) for one in (issue("till-7"), issue("till-8"), issue(names=[san]))]
        again = gateway.client(issue("till-7"))
        open_ones = [gateway.through(context, upstream.target) for context in contexts]
        told, name = answer(gateway, again, upstream.target)
        assert told.endswith(": too-many-tunnels-for-client")
        refused = gateway.wait_for(event=302, client=name)
        assert refused["message"].startswith("CN=till-7 has 1 tunnels open")
        told, name = answer(gateway, contexts[2], upstream.target)
        assert told.endswith(": too-many-tunnels-for-client")
        assert gateway.wait_for(event=302, client=name)["client_subject"] == "san:nameless.example"
        for sock in open_ones:
            sock.close()
        assert until(lambda: not asked(gateway, "/tunnels")["total"])
        gateway.through(again, upstream.target).close()


def test_suggestions_from_its_log_and_from_its_memory_name_the_client(gateway, configured, tmp_path):
    configured("from=cn:till-7")
    _told, name = answer(gateway, gateway.client(gateway.authority.issue("till-8")))
    gateway.wait_for(event=105, client=name)
    rule = "shop.example from=cn:till-8"
    (tmp_path / "log").write_text("".join(f"{json.dumps(line)}\n" for line in gateway.lines))
    (tmp_path / "none.ini").write_text("[ogw]\n")
    for words in ((tmp_path / "log",), ("--run-dir", gateway.run_dir)):
        done = ogw("suggest", *words, "--config", tmp_path / "none.ini", "--per-client", "--json")
        assert [one["rule"] for one in json.loads(done.stdout)["rules"]] == [rule], done


def test_a_stage_changes_with_a_reload(tmp_path, upstream):
    def configure(stage):
        rule = f"{upstream.host} to=127.0.0.0/8 stage=canary"
        (tmp_path / "gw.ini").write_text(f"[ogw]\nstage = {stage}\nallowed-host =\n    other.example\n    {rule}\n")

    configure("")
    with Gateway("--config", str(tmp_path / "gw.ini")) as gateway:
        for stage, status in (("", b"403"), ("canary", b"200"), ("pilot", b"403")):
            configure(stage)
            assert asked(gateway, "/reload", "POST")["mistakes"] == []
            sock, head = gateway.ask(upstream.target)
            sock.close()
            assert head.split()[1] == status
        for whose in ("of none", "of stage pilot"):
            said = f"but of stage canary, and this gateway is {whose}"
            assert until(lambda said=said: [line for line in gateway.events(105) if said in line["message"]])
