"""Advice, pasted as it stands, makes the request pass: on the gateway that gave it, and on no other one."""

import json
import shlex
import subprocess
import sys
import time

import pytest
from harness.admin import asked
from harness.certificates import OIDS, name, write
from harness.certificates import certificate as certificate_of
from harness.commands import ROOT, clean
from harness.dns import Dns
from harness.gateway import Gateway, address
from harness.hellos import client_hello, records
from harness.tls import TlsServer, client, serving
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

NAME = "www.bench.example"
OPEN = "allowed-target-network = 127.0.0.0/8\n"
ENDED = "until=2020-01-01T00:00:00Z"

# What the INI file says, the reason of the refusal, and of what the advice must consist. The target is NAME, where the
# case names no other one; {ip} is its address.
CASES = {
    "no rule": (OPEN, "host-not-allowed", f"allowed-host add {NAME} "),
    "a rule for names below": (f"{OPEN}allowed-host = *.{NAME}", "host-not-allowed", f"allowed-host add {NAME} "),
    "another port": (f"{OPEN}allowed-host = {NAME}:8443", "port-not-allowed", f"allowed-host add {NAME}:443 "),
    "another port, guarded": (f"allowed-host = {NAME}:8443 to=127.0.0.0/8", "port-not-allowed", "to=127.0.0.0/8"),
    "no rule, another port": (OPEN, "host-not-allowed", f"allowed-host add {NAME}:8443 ", f"{NAME}:8443"),
    "denied": (f"{OPEN}allowed-host = {NAME}\ndenied-host = {NAME}", "host-not-allowed", "denied-host remove"),
    "denied with more": (
        f'{OPEN}allowed-host = {NAME}\ndenied-host = .bench.example from=127.0.0.0/8 note="it\'s $HOME, \\no"',
        "host-not-allowed",
        "denied-host remove",
    ),
    "denied, on its port": (
        f"{OPEN}allowed-host = {NAME}\ndenied-host = {NAME}:443",
        "host-not-allowed",
        f"denied-host remove {NAME}:443 ",
    ),
    "denied twice": (
        f"{OPEN}allowed-host = {NAME}\ndenied-host =\n    {NAME}\n    *.bench.example\n    x.example",
        "host-not-allowed",
        "denied-host remove",
    ),
    "denied, and in no rule": (f"{OPEN}denied-host = {NAME}", "host-not-allowed", "denied-host remove"),
    "denied, and its rule ended": (
        f"allowed-host = {NAME} to=127.0.0.0/8 {ENDED}\ndenied-host = {NAME}",
        "host-not-allowed",
        "to=127.0.0.0/8",
    ),
    "its address is denied": (
        f"{OPEN}allowed-host = {NAME}\ndenied-host = 127.0.0.0/8",
        "address-not-allowed",
        "denied-host remove 127.0.0.0/8 ",
    ),
    "its address is denied and guarded": (
        f"allowed-host = {NAME}\ndenied-host = 127.0.0.0/8",
        "address-not-allowed",
        "denied-host remove 127.0.0.0/8 ",
    ),
    "guarded": (f"allowed-host = {NAME}", "address-not-allowed", "to={ip}"),
    "guarded, on another port": (f"allowed-host = {NAME}:8443", "address-not-allowed", "to={ip}", f"{NAME}:8443"),
    "guarded, one of two": (f"allowed-host = {NAME} to=10.0.0.0/8", "address-not-allowed", "to={ip}"),
    "guarded, for this client": (f"allowed-host = {NAME} from=127.0.0.0/8", "address-not-allowed", "from=127.0.0.1"),
    "ended": (f"allowed-host = {NAME} to=127.0.0.0/8 {ENDED}", "host-not-allowed", "to=127.0.0.0/8"),
    "a wider one ended": (f"allowed-host = *.bench.example to=127.0.0.0/8 {ENDED}", "host-not-allowed", f"'{NAME} to="),
    "ended, for this client": (
        f"allowed-host = {NAME} from=127.0.0.0/8 to=127.0.0.0/8 {ENDED}",
        "host-not-allowed",
        "from=127.0.0.1",
    ),
    "for others": (f"allowed-host = {NAME} from=10.0.0.0/8 to=127.0.0.0/8", "host-not-allowed", "from=127.0.0.1"),
    "an address": ("", "host-not-allowed", "to={ip}", "{ip}:443"),
    "an address, guarded": ("allowed-host = {ip}", "address-not-allowed", "to={ip}", "{ip}:443"),
    "an address, denied": (
        "allowed-host = {ip} to={ip}\ndenied-host = 127.0.0.0/8",
        "host-not-allowed",
        "denied-host remove 127.0.0.0/8 ",
        "{ip}:443",
    ),
    "a strange client": (
        f"{OPEN}allowed-host = {NAME}\nallowed-client = 10.0.0.0/8",
        "client-not-allowed",
        "config add allowed-client 127.0.0.1 ",
    ),
    "a strange client, and no rule": (
        f"{OPEN}allowed-client = 10.0.0.0/8",
        "client-not-allowed",
        f" && ogw allowed-host add {NAME} ",
    ),
    "a strange client, denied": (
        f"{OPEN}allowed-client = 10.0.0.0/8\nallowed-host = {NAME}\ndenied-host = *.bench.example",
        "client-not-allowed",
        " && ogw denied-host remove '*.bench.example' ",
    ),
    "a strange client, denied and in no rule": (
        f"{OPEN}allowed-client = 10.0.0.0/8\ndenied-host = {NAME}",
        "client-not-allowed",
        f" && ogw allowed-host add {NAME} ",
    ),
    "a strange client, another port": (
        f"{OPEN}allowed-client = 10.0.0.0/8\nallowed-host = {NAME}",
        "client-not-allowed",
        f" && ogw allowed-host add {NAME}:8443 ",
        f"{NAME}:8443",
    ),
    "a strange client, an address, guarded": (
        "allowed-client = 10.0.0.0/8\nallowed-host = {ip}",
        "client-not-allowed",
        "to={ip}",
        "{ip}:443",
    ),
}


class Two:
    """A gateway, and one beside it in the places where commands look first, which must not change."""

    def __init__(self, folder):
        self.folder = folder
        self.usual = folder / "usual.ini"
        self.usual.write_text("[ogw]\nallowed-host = usual.example\n")
        (folder / "bin").mkdir()
        program = folder / "bin" / "ogw"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ogw "$@"\n')
        program.chmod(0o755)
        (folder / "user").mkdir(mode=0o700)
        path = f"{folder / 'bin'}:/usr/bin:/bin"
        self.environment = clean(OGW_CONFIG=str(self.usual), XDG_RUNTIME_DIR=str(folder / "user"), PATH=path)

    def __enter__(self):
        flags = ("--config", str(self.usual), "--run-dir", str(self.folder / "user" / "ogw"))
        self.beside = Gateway(*flags)
        self.beside.__enter__()
        return self

    def __exit__(self, *exception):
        self.beside.stop()
        assert not self.beside.events(109), "the other gateway was reloaded"
        assert self.usual.read_text() == "[ogw]\nallowed-host = usual.example\n", "the other one's file was edited"

    def paste(self, command):
        """Type it as it stands."""
        words = ["/bin/sh", "-c", command]
        environment = {**self.environment, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60 * PATIENCE,
        )  # fmt: skip


@pytest.fixture
def two(tmp_path):
    with Two(tmp_path) as two:
        yield two


@pytest.fixture(scope="module")
def server():
    with Server(echo, port=443) as server:
        yield server


@pytest.fixture(scope="module")
def dns(server):
    with Dns({NAME: [server.host]}) as dns:
        yield dns


def advised(gateway, reason):
    """The command that status and page show for the only refusal."""
    (told,) = until(lambda: [one for one in asked(gateway, "/status")["refusals"] if one["reason"] == reason])
    return told["command"]


def answer(gateway, target):
    sock, head = gateway.ask(target)
    sock.close()
    return head.split(b"\r\n")[0].decode()


@pytest.mark.parametrize("case", CASES)
def test_it_makes_the_request_pass(case, two, server, dns):
    text, reason, part, *target = CASES[case]
    (target,) = target or [f"{NAME}:443"]
    text, part, target = (one.replace("{ip}", server.host) for one in (text, part, target))
    file = two.folder / "own, with a blank.ini"
    file.write_text(f"[ogw]\n{text}\n")
    with Gateway("--config", str(file), *dns.flags) as gateway:
        assert answer(gateway, target) == f"HTTP/1.1 403 Forbidden: {reason}"
        command = advised(gateway, reason)
        assert part in command and str(file) in command
        done = two.paste(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        passes = "HTTP/1.1 200 " if target.endswith(":443") else "HTTP/1.1 502 Bad Gateway: connection-refused"
        assert answer(gateway, target).startswith(passes), command


@pytest.mark.parametrize("case", CASES)
def test_explain_gives_the_same_command(case, two, server, dns):
    text, reason, _part, *target = CASES[case]
    (target,) = target or [f"{NAME}:443"]
    text, target = (one.replace("{ip}", server.host) for one in (text, target))
    file = two.folder / "own.ini"
    file.write_text(f"[ogw]\n{text}\n")
    words = ["ogw", "explain", target, "--config", str(file), "--tls-rules", "off", *dns.flags]
    told = json.loads(two.paste(shlex.join([*words, "--json"])).stdout)
    assert told["reason"] == reason
    assert two.paste(told["command"].replace(" --reload", "")).returncode == 0
    assert two.paste(shlex.join(words)).returncode == 0


# The same where the addresses would be refused next: without a refused client's causing it nobody looks them up.
BEHIND = {
    "no rule": ("", "host-not-allowed"),
    "a strange client": (f"allowed-client = 10.0.0.0/8\nallowed-host = {NAME}", "client-not-allowed"),
    "a strange client, no rule": ("allowed-client = 10.0.0.0/8", "client-not-allowed"),
    "a strange client, its address denied": (
        f"{OPEN}allowed-client = 10.0.0.0/8\nallowed-host = {NAME}\ndenied-host = 127.0.0.0/8",
        "client-not-allowed",
    ),
    "denied": (f"allowed-host = {NAME}\ndenied-host = {NAME}", "host-not-allowed"),
    "another port": (f"allowed-host = {NAME}:8443", "port-not-allowed"),
    "a strange client, a network that is enough": (
        f"allowed-client = 10.0.0.0/8\nallowed-host = {NAME} to=127.0.0.0/8",
        "client-not-allowed",
    ),
}


@pytest.mark.parametrize("case", BEHIND)
def test_explain_names_at_once_what_the_addresses_need_too(case, two, server):
    text, reason = BEHIND[case]
    file = two.folder / "own.ini"
    file.write_text(f"[ogw]\n{text}\n")
    with Dns({NAME: [server.host]}) as dns, Gateway("--config", str(file), *dns.flags) as gateway:
        assert answer(gateway, f"{NAME}:443") == f"HTTP/1.1 403 Forbidden: {reason}"
        assert not dns.asked, "a look-up was caused by who was refused"
        words = ["ogw", "explain", NAME, "--config", str(file), *dns.flags, "--json"]
        words += ["--run-dir", gateway.run_dir, "--tls-rules", "off"]
        told = json.loads(two.paste(shlex.join(words)).stdout)
        assert told["reason"] == reason and ("to=" in told["command"]) == (OPEN not in text and "to=" not in text)
        done = two.paste(told["command"])
        assert done.returncode == 0, (told["command"], done.stderr)
        assert answer(gateway, f"{NAME}:443").startswith("HTTP/1.1 200 "), told["command"]


def test_a_session_without_a_server_name_passes(two, authority):
    with (
        TlsServer(serving(authority, NAME), port=443) as server,
        Dns({NAME: [server.host]}) as dns,
    ):
        file = two.folder / "own.ini"
        file.write_text(f"[ogw]\nallowed-host = {NAME} to=127.0.0.0/8\n")
        with Gateway("--config", str(file), *dns.flags, tls_rules=None) as gateway:
            with gateway.tunnel(f"{NAME}:443") as sock:
                sock.sendall(records(client_hello()))
                gateway.wait_for(event=106, reason="server-name-missing")
            command = advised(gateway, "server-name-missing")
            assert two.paste(command).returncode == 0, command
            with gateway.tunnel(f"{NAME}:443") as sock, client("1.2").wrap_socket(sock) as tls:
                tls.sendall(b"x")
                assert tls.recv(1) == b"x"


def test_an_address_gets_what_its_session_needs(two, authority):
    with TlsServer(serving(authority, NAME), port=443) as server:
        file = two.folder / "own.ini"
        file.write_text("[ogw]\n")
        with Gateway("--config", str(file), tls_rules=None) as gateway:
            assert answer(gateway, server.target).endswith("host-not-allowed")
            command = advised(gateway, "host-not-allowed")
            assert two.paste(command).returncode == 0, command
            with gateway.tunnel(server.target) as sock, client("1.2").wrap_socket(sock) as tls:
                tls.sendall(b"x")
                assert tls.recv(1) == b"x"


@pytest.mark.parametrize(
    ("subject", "part"),
    [
        (name((OIDS.COMMON_NAME, "it's till-7"), (OIDS.ORGANIZATION_NAME, 'Shop, "$HOME" & Sons')), "till-7"),
        (name([(OIDS.COMMON_NAME, "till-7"), (OIDS.ORGANIZATION_NAME, "Shop")]), "CN=till-7"),
        (name((OIDS.COMMON_NAME, "-till\r\n7 ")), "CN="),
        (
            name(*[(OIDS.COMMON_NAME, f"{number} till with a very long name of its own") for number in range(9)]),
            "sha256:",
        ),
        (name(), "sha256:"),
    ],
    ids=["quotes", "several values", "line breaks", "too long", "none"],
)
def test_a_client_certificate_passes(subject, part, two, authority):
    certificate = write(two.folder / "client.pem", certificate_of(subject))
    with (
        TlsServer(serving(authority, NAME, version="1.2", asks=True), port=443) as server,
        Dns({NAME: [server.host]}) as dns,
    ):
        file = two.folder / "own.ini"
        file.write_text(f"[ogw]\nallowed-host = {NAME} to=127.0.0.0/8\nallowed-client-certificate = nobody\n")

        def greet(gateway):
            with gateway.tunnel(f"{NAME}:443") as sock:
                client("1.2", certificate).wrap_socket(sock, server_hostname=NAME).close()

        with Gateway("--config", str(file), *dns.flags, tls_rules=None) as gateway:
            with pytest.raises(OSError):
                greet(gateway)
            command = advised(gateway, "client-certificate-not-allowed")
            assert command.startswith("ogw allowed-client-certificate add ") and part in command
            done = two.paste(command)
            assert done.returncode == 0, (command, done)
            with pytest.raises(OSError):  # of the server, which does not know who signed it: it was let through
                greet(gateway)
            gateway.wait_for(event=107)


def test_several_addresses_are_all_named(two, server):
    other = address()
    with Dns({NAME: [other, server.host]}) as dns:
        file = two.folder / "own.ini"
        file.write_text(f"[ogw]\nallowed-host = {NAME}\n")
        with Gateway("--config", str(file), *dns.flags) as gateway:
            assert answer(gateway, f"{NAME}:443").endswith("address-not-allowed")
            command = advised(gateway, "address-not-allowed")
            assert f"to={other}" in command and f"to={server.host}" in command
            assert two.paste(command).returncode == 0
            assert answer(gateway, f"{NAME}:443").startswith("HTTP/1.1 200 ")


def test_it_lasts_when_only_reporting_ends(two, server, dns):
    file = two.folder / "own.ini"
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    mode = f"policy-mode = report\nreport-until = {tomorrow}\n"
    file.write_text(f"[ogw]\n{OPEN}denied-host = x.example\n{mode}")
    with Gateway("--config", str(file), *dns.flags) as gateway:
        assert answer(gateway, f"{NAME}:443").startswith("HTTP/1.1 200 ")
        assert two.paste(advised(gateway, "host-not-allowed")).returncode == 0
        file.write_text(file.read_text().replace(mode, ""))
        assert two.paste(f"ogw reload --run-dir {gateway.run_dir}").returncode == 0
        assert answer(gateway, f"{NAME}:443").startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("text", "flags", "target"),
    [
        (f"allowed-host = {NAME}", ("--denied-host", NAME), f"{NAME}:443"),
        (f"allowed-host = {NAME}\ndenied-host = {NAME}", ("--denied-host", "*.bench.example"), f"{NAME}:443"),
        ("allowed-host = {own}:8080", (), "{own}:8080"),
        ("", (), "{own}:8080"),
    ],
    ids=["denied by a flag", "denied by a flag, too", "the gateway itself", "the gateway itself, in no rule"],
)
def test_there_is_none_where_no_command_helps(text, flags, target, tmp_path, dns):
    own = address()
    file = tmp_path / "own.ini"
    file.write_text(f"[ogw]\n{text}\n".replace("{own}", own))
    with Gateway("--config", str(file), *flags, *dns.flags, listen=own) as gateway:
        head = answer(gateway, target.replace("{own}", own))
        assert advised(gateway, head.rpartition(": ")[2]) is None


def test_a_gateway_that_wants_no_file_gives_no_command_that_edits_one(dns):
    with Gateway("--config", "/dev/null", *dns.flags) as gateway:
        assert answer(gateway, f"{NAME}:443").endswith("host-not-allowed")
        assert advised(gateway, "host-not-allowed") is None


def test_every_command_that_asks_takes_the_file_of_the_gateway(two, server):
    folder = two.folder / "own run-dir"
    file = two.folder / "own.ini"
    file.write_text(f"[ogw]\nallowed-host = {server.host}\nallowed-target-network = 127.0.0.0/8\nrun-dir = {folder}\n")
    with Gateway("--config", str(file), "--run-dir", str(folder)) as gateway:
        named = f"--config {shlex.quote(str(file))}"
        assert answer(gateway, f"{NAME}:443").endswith("host-not-allowed")
        with gateway.tunnel(server.target):
            assert f"{gateway.address}:8080" in two.paste(f"ogw status {named}").stdout
            assert NAME in two.paste(f"ogw top --count 1 {named}").stdout
            assert f"    {NAME}\n" in two.paste(f"ogw suggest {named}").stdout
            (tunnel,) = json.loads(two.paste(f"ogw tunnels --json {named}").stdout)["tunnels"]
            assert two.paste(f"ogw tunnel kill {tunnel['tunnel']} {named}").returncode == 0
        assert two.paste(f"ogw reload {named}").returncode == 0
        gateway.wait_for(event=109)
        assert two.paste(f"ogw drain {named}").returncode == 0
        gateway.wait_for(event=110)
    assert not two.beside.events(110)


@pytest.mark.parametrize("named", ["--config", "--run-dir"])
def test_suggest_judges_by_the_file_of_the_gateway_that_it_asks(named, two):
    file = two.folder / "own.ini"
    folder = two.folder / "own"
    file.write_text(f"[ogw]\ndenied-host = *.bench.example\nrun-dir = {folder}\n")
    with Gateway("--config", str(file), "--run-dir", str(folder)) as gateway:
        for target in (f"{NAME}:443", "other.example:443"):
            assert answer(gateway, target).endswith("host-not-allowed")
        done = two.paste(f"ogw suggest --apply --yes --reload {named} {file if named == '--config' else folder}")
        assert done.returncode == 0, done
        assert "    other.example" in done.stdout and f"    {NAME}" not in done.stdout
        gateway.wait_for(event=109)
    assert "other.example" in file.read_text()


def test_what_only_reporting_says_names_the_gateway(two):
    file = two.folder / "own.ini"
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    file.write_text(f"[ogw]\npolicy-mode = report\nreport-until = {tomorrow}\n")
    with Gateway("--config", str(file)) as gateway:
        suggests = f"ogw suggest --config {file} --run-dir {gateway.run_dir}"
        assert any(suggests in sentence for sentence in asked(gateway, "/status")["attention"])
        assert f"`{suggests}`" in two.paste(f"ogw status --run-dir {gateway.run_dir}").stdout.replace("\n", " ")
        until(lambda: any(suggests in line["message"] for line in gateway.events(100)))
