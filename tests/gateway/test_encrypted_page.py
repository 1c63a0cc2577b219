"""docs/encrypted.md, as an administrator does what it says: an authority, certificates, a client, a revocation."""

import subprocess

import pytest
from harness.admin import asked
from harness.dns import Dns
from harness.gateway import Gateway, address
from harness.pages import blocks
from harness.peers import PATH, peer
from harness.upstreams import Server, https, server_context

PAGE = "encrypted.md"
NAME = "www.example.com"


@pytest.fixture
def shell(tmp_path, authority_file):
    def run(text, succeeds=True):
        environment = {"PATH": PATH, "HOME": str(tmp_path), "CURL_CA_BUNDLE": authority_file}
        done = subprocess.run(
            ["sh", "-euc", text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode == 0) is succeeds, done.stderr + done.stdout
        return done.stdout + done.stderr

    return run


def test_a_request_that_asks_to_be_an_authority_becomes_none(shell):
    peer("openssl")
    made, _gateway, client, *_others = blocks(PAGE, "Certificates of your own")
    asks = '-addext "basicConstraints = critical, CA:TRUE" -addext "keyUsage = keyCertSign" '
    shell(made + client.replace("-addext", f"{asks}-addext", 1))
    told = shell("cd pki\nopenssl x509 -in till-7.pem -noout -text")
    assert "CA:FALSE" in told and "CA:TRUE" not in told and "Certificate Sign" not in told, told
    assert "DNS:till-7.example.com" in told and "TLS Web Client Authentication" in told


def test_the_page_leads_to_clients_with_certificates_and_to_one_without(tmp_path, authority, shell):
    peer("openssl")
    host = address()
    ini = blocks(PAGE, "An encrypted way from the client to the gateway")[0]
    made, *others, _install, curl = blocks(PAGE, "Certificates of your own")
    shell("".join([made, *others]).replace("10.1.0.5", host))
    folder = tmp_path / "pki"
    gateway_ini = folder / "ogw.ini"
    gateway_ini.write_text(ini.replace("0.0.0.0", host).replace(NAME, f"{NAME} to=127.0.0.0/8"))
    curl = f"cd pki\n{peer('curl')} -sS{curl.removeprefix('curl')}".replace("10.1.0.5", host)
    with (
        Server(https(server_context(authority, NAME), [])) as site,
        Dns({NAME: [site.host]}) as dns,
        Gateway("--config", str(gateway_ini), *dns.flags, listen="", tls_rules=None) as gateway,
    ):
        shell(curl)
        assert "alert" in shell(curl.replace("till-7.", "gateway."), succeeds=False)
        assert gateway.wait_for(event=114)["reason"] == "client-tls-certificate-invalid"
        assert "alert" in shell(curl.replace("--proxy-cert till-7.pem --proxy-key till-7.key", ""), succeeds=False)
        [revoke] = blocks(PAGE, "Revoking one")
        shell(f"cd pki\n{revoke}")
        gateway.wait_for(event=109, message="changed: listen-client-crl")
        assert "revoked" in shell(curl, succeeds=False)
        assert gateway.wait_for(event=114, reason="client-tls-certificate-revoked")
        [renew] = blocks(PAGE, "Renewing the gateway's own")
        shell(f"cd pki\n{renew}")
        gateway.wait_for(event=109, message="changed: listen-tls-certificate")
        assert asked(gateway, "/status")["listen_tls"]["listen"] == [f"{host}:8443"]
