"""Real clients of a tls:// place: programs and libraries that speak TLS to their proxy, and through it to a server."""

import hashlib
import json
import ssl
import subprocess

import pytest
import requests
from harness.dns import Dns
from harness.gateway import free_port, read_exactly
from harness.peers import peer
from harness.pki import pem
from harness.secure import PORT, Secure
from harness.upstreams import Server, https, pattern, server_context

NAME = "www.example.com"
SIZE = 3_000_000
DIGEST = hashlib.sha256(b"".join(pattern(SIZE))).hexdigest()


@pytest.fixture(scope="module")
def site(authority):
    with Server(https(server_context(authority, NAME), [])) as site:
        yield site


@pytest.fixture(scope="module")
def gateway(site, tmp_path_factory):
    flags = ("--allowed-host", f"{NAME} to=127.0.0.0/8 from=cn:till-7")
    folder = tmp_path_factory.mktemp("files")
    with Dns({NAME: [site.host]}) as dns, Secure(folder, *flags, *dns.flags, crl=True, tls_rules=None) as gateway:
        gateway.client(gateway.authority.issue("till-7"))  # writes client.pem
        (folder / "other.pem").write_bytes(pem(gateway.authority.issue("till-8")) + _key(folder))
        yield gateway


def _key(folder):
    text = (folder / "client.pem").read_bytes()
    return text[text.index(b"-----BEGIN PRIVATE KEY-----") :]


def run(*command, data=b"", **environment):
    done = subprocess.run(
        list(map(str, command)), input=data, capture_output=True, timeout=120, env=environment or None
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def curl(gateway, authority_file, *more, certificate="client.pem"):
    own = ("--proxy-cert", gateway.folder / certificate) if certificate else ()
    proxy = f"https://{gateway.address}:{PORT}"
    command = (peer("curl"), "-sS", "-x", proxy, "--proxy-cacert", gateway.folder / "ca.pem", *own)
    return run(*command, "--cacert", authority_file, *more)


def test_curl_down_and_up(gateway, authority_file, tmp_path):
    code, body, told = curl(gateway, authority_file, f"https://{NAME}/{SIZE}")
    assert (code, hashlib.sha256(body).hexdigest()) == (0, DIGEST), told
    (tmp_path / "body").write_bytes(b"".join(pattern(SIZE)))
    code, body, told = curl(gateway, authority_file, "-T", tmp_path / "body", f"https://{NAME}/")
    assert (code, body.decode()) == (0, DIGEST), told
    closed = gateway.wait_for(event=107, server_name=NAME)
    assert closed["target"] == f"{NAME}:443"


def test_curl_without_a_certificate_with_anothers_and_with_another_version(gateway, authority_file):
    code, _body, told = curl(gateway, authority_file, f"https://{NAME}/", certificate="")
    assert code != 0 and "alert" in told
    assert gateway.wait_for(event=114)["reason"] == "client-tls-certificate-missing"
    code, _body, told = curl(gateway, authority_file, f"https://{NAME}/", certificate="other.pem")
    assert code != 0 and "403" in told
    assert gateway.wait_for(event=105)["reason"] == "host-not-allowed"
    for version in ("--proxy-tlsv1", "--tls-max 1.2"):
        code, body, told = curl(gateway, authority_file, *version.split(), f"https://{NAME}/10")
        assert (code, len(body)) == (0, 10), told


def test_curl_that_speaks_plain_http_is_told_which_scheme(gateway, authority_file):
    proxy = f"http://{gateway.address}:{PORT}"
    code, _body, told = run(peer("curl"), "-sSv", "-x", proxy, "--cacert", authority_file, f"https://{NAME}/")
    assert code != 0 and "400 Bad Request: client-tls-plain-http" in told
    assert gateway.wait_for(event=114, reason="client-tls-plain-http")["status"] == 400


def test_python_requests(gateway, authority_file, monkeypatch):
    """Its certificate for a proxy is the session's; it verifies both with one file."""
    together = gateway.folder / "both.pem"
    with open(authority_file, "rb") as file:
        together.write_bytes(gateway.authority.pem + file.read())
    context = gateway.client()
    context.load_cert_chain(gateway.folder / "client.pem")
    with requests.Session() as session:
        adapter = session.get_adapter("https://")
        proxy = f"https://{gateway.address}:{PORT}"
        adapter.proxy_manager_for(proxy, proxy_ssl_context=context)
        answer = session.get(f"https://{NAME}/{SIZE}", proxies={"https": proxy}, verify=str(together))
    assert hashlib.sha256(answer.content).hexdigest() == DIGEST


def test_python_tls_inside_tls_by_hand(gateway, authority):
    """Two of OpenSSL's machines, one in the other: every byte of the inner handshake is a record of the outer one."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    context = gateway.client()
    context.load_cert_chain(gateway.folder / "client.pem")
    with gateway.through(context, f"{NAME}:443") as outer:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = client.wrap_bio(incoming, outgoing, server_hostname=NAME)

        def step(call, *arguments):
            while True:
                try:
                    return call(*arguments)
                except ssl.SSLWantReadError:
                    outer.sendall(outgoing.read())
                    incoming.write(outer.recv(1 << 16))
                finally:
                    outer.sendall(outgoing.read())

        step(inner.do_handshake)
        step(inner.write, b"GET /1000 HTTP/1.0\r\n\r\n")
        assert step(inner.read, 4096).startswith(b"HTTP/1.1 200 OK")


def spoken(gateway, *command):
    """What a program of TLS that passes its input on says, once it was told the head of a request."""
    head = f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n"
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with process:
        process.stdin.write(head.encode())
        process.stdin.flush()
        said = b""
        while piece := process.stdout.read1(4096):
            said += piece
            if b"\r\n\r\n" in said[said.find(b"HTTP/1.1 ") :] and b"HTTP/1.1 " in said:
                break
        process.stdin.close()
        process.kill()
    return said


def test_openssl(gateway):
    folder, place = gateway.folder, f"{gateway.address}:{PORT}"
    command = [peer("openssl"), "s_client", "-quiet", "-connect", place, "-CAfile", folder / "ca.pem"]
    for more in ((), ("-tls1_2",), ("-tls1_3",)):
        said = spoken(gateway, *command, "-verify_return_error", "-cert", folder / "client.pem", *more)
        assert b"HTTP/1.1 200 Connection established" in said


def test_gnutls(gateway):
    folder = gateway.folder
    own = ["--x509certfile", folder / "client.pem", "--x509keyfile", folder / "client.pem"]
    command = [peer("gnutls-cli"), "--x509cafile", folder / "ca.pem", *own, "-p", PORT, gateway.address]
    for more in ((), ("--priority", "NORMAL:-VERS-TLS1.3")):
        said = spoken(gateway, *command, *more)
        assert b"HTTP/1.1 200 Connection established" in said, said


NODE = """
const tls = require('tls'), fs = require('fs'), crypto = require('crypto')
const [host, port, folder, trust, name, size] = process.argv.slice(1)
const own = fs.readFileSync(folder + '/client.pem')
const proxy = tls.connect({host, port, ca: fs.readFileSync(folder + '/ca.pem'), cert: own, key: own}, () => {
  proxy.write(`CONNECT ${name}:443 HTTP/1.1\\r\\n\\r\\n`)
  proxy.once('data', head => {
    const inner = tls.connect({socket: proxy, servername: name, ca: fs.readFileSync(trust)}, () => {
      const hash = crypto.createHash('sha256')
      let rest = null
      inner.write(`GET /${size} HTTP/1.0\\r\\n\\r\\n`)
      inner.on('data', data => {
        if (rest === null) { const at = data.indexOf('\\r\\n\\r\\n'); rest = data.subarray(at + 4) } else rest = data
        hash.update(rest)
      })
      inner.on('end', () => {
        console.log(JSON.stringify({head: head.toString().split('\\r\\n')[0], digest: hash.digest('hex')}))
        process.exit(0)
      })
    })
  })
})
"""


def test_node(gateway, authority_file):
    place = (gateway.address, PORT, gateway.folder)
    code, said, told = run(peer("node"), "-e", NODE, *place, authority_file, NAME, SIZE)
    assert code == 0, told
    assert json.loads(said) == {"head": "HTTP/1.1 200 Connection established", "digest": DIGEST}


def test_a_balancers_header_comes_before_the_tls(tmp_path, upstream):
    with Secure(tmp_path, "--proxy-protocol", "required", "--proxy-protocol-from", "127.0.0.0/8") as gateway:
        context = gateway.client(gateway.authority.issue("till"))
        for header in (b"PROXY TCP4 192.0.2.7 192.0.2.8 50001 443\r\n", b"PROXY UNKNOWN\r\n"):
            plain = gateway.raw()
            plain.sendall(header)
            name = "{}:{}".format(*plain.getsockname())
            with context.wrap_socket(plain, server_hostname=gateway.address) as sock:
                sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\nx".encode())
                assert read_exactly(sock, 15) == b"HTTP/1.1 200 Co"
            if b"TCP4" in header:
                assert gateway.closed(client="192.0.2.7:50001")["via"] == name
            else:
                assert "via" not in gateway.closed(client=name)
        with pytest.raises((ssl.SSLError, ConnectionError)), gateway.raw() as plain:
            context.wrap_socket(plain, server_hostname=gateway.address)
        assert gateway.wait_for(event=104)["reason"] == "proxy-header-missing"


def test_it_is_the_same_over_ipv6(tmp_path, upstream):
    with Secure(tmp_path, place="::1", port=free_port("::1")) as gateway:
        assert gateway.listen == [("::1", gateway.port)]
        with gateway.through(gateway.client(gateway.authority.issue("till")), upstream.target) as sock:
            name = "[{}]:{}".format(*sock.getsockname())
        assert gateway.closed(client=name)
