"""Settings of tls:// addresses: what goes together, and what does not."""

import os

import pytest
from cryptography.hazmat.primitives import serialization
from harness.pki import PEM, Authority, key, key_pem, pem, write

from ogw.service.limits import limits_of
from ogw.settings.loader import ConfigError, load

OWN = Authority()
HOST = "127.0.0.1"


@pytest.fixture
def files(tmp_path):
    """Flags of all of them, by their names."""
    (tmp_path / "ca.pem").write_bytes(OWN.pem)
    (tmp_path / "crl.pem").write_bytes(OWN.crl())
    return {
        "--listen-address": f"tls://{HOST}:8443",
        "--listen-tls-certificate": write(tmp_path / "own.pem", OWN.server(HOST)),
        "--listen-client-certificate": "required",
        "--listen-client-ca": str(tmp_path / "ca.pem"),
        "--listen-client-crl": str(tmp_path / "crl.pem"),
    }


def loaded(flags, **more):
    return load(["--allowed-host", "a.example", *(word for pair in flags.items() for word in pair)], {}, **more)


def mistakes(flags, **more):
    with pytest.raises(ConfigError) as wrong:
        loaded(flags, **more)
    return list(wrong.value.mistakes)


def test_places_are_plain_or_tls(files):
    listen = f"{HOST}:8080, tls://{HOST}:8443, tls://[::1]:8443, ::1, tls://{HOST}"
    config = loaded({**files, "--listen-address": listen, "--listen-port": "8444"})
    places = ((HOST, 8080), (HOST, 8443), ("::1", 8443), ("::1", 8444), (HOST, 8444))
    assert config.listen == places
    assert config.listen_tls == {(HOST, 8443), ("::1", 8443), (HOST, 8444)}


@pytest.mark.parametrize("text", ["tls:127.0.0.1", "tls//127.0.0.1", "https://127.0.0.1", "tls://", "TLS://127.0.0.1"])
def test_what_is_no_place(files, text):
    told = mistakes({**files, "--listen-address": text})[0]
    assert "is not an IP address" in told
    hint = "; an address where clients speak TLS is written tls://10.1.0.5:8443"
    assert told.endswith(hint) == (text != "tls://"), told


@pytest.mark.parametrize("other", [HOST, f"{HOST}:8080", "0.0.0.0:8080"])
def test_one_place_is_not_both(files, other):
    (told,) = mistakes({**files, "--listen-address": f"tls://{HOST}:8080, {other}"})
    assert "overlap" in told


def test_the_same_place_twice_is_one(files):
    assert len(loaded({**files, "--listen-address": f"tls://{HOST}:8443, tls://{HOST}:8443"}).listen) == 1


def test_what_belongs_together(files):
    del files["--listen-client-ca"]
    assert "listen-client-ca: set it, too" in mistakes(files)[0]
    del files["--listen-tls-certificate"]
    assert "listen-tls-certificate: set it, too" in mistakes(files)[0]


def test_without_a_tls_place_nobody_could_show_a_certificate(files):
    files["--listen-address"] = HOST
    assert any("begins with tls://" in one for one in loaded(files).warnings)
    (told,) = mistakes(files, to_start=True)
    assert told.startswith("listen-client-certificate = required: no listen-address begins with tls://")


def test_what_does_nothing_is_told(files):
    files["--listen-client-certificate"] = "off"
    assert any("do nothing with listen-client-certificate = off" in one for one in loaded(files).warnings)


def test_the_key_may_have_a_file_of_its_own(files, tmp_path):
    (tmp_path / "own.pem").write_bytes(pem(OWN.server(HOST)))
    (tmp_path / "own.key").write_bytes(key_pem())
    (tmp_path / "own.key").chmod(0o600)
    config = loaded({**files, "--listen-tls-key": str(tmp_path / "own.key")})
    assert config.warnings == () and "PRIVATE" not in repr(config)
    (tmp_path / "own.key").chmod(0o644)
    (told,) = loaded({**files, "--listen-tls-key": str(tmp_path / "own.key")}).warnings
    assert told.startswith("listen-tls-key: every user of this machine can read the key")
    (tmp_path / "own.key").write_bytes(key_pem(9))
    (told,) = mistakes({**files, "--listen-tls-key": str(tmp_path / "own.key")})
    assert told.startswith(f"listen-tls-key: {tmp_path}/own.key: it is not the key of the certificate in")


def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked(files, tmp_path):
    locked = serialization.BestAvailableEncryption(b"passphrase")
    data = key().private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked)
    (tmp_path / "own.pem").write_bytes(pem(OWN.server(HOST)) + data)
    (told,) = mistakes(files)
    assert "the key is encrypted" in told


def test_another_content_is_another_value_and_the_files_are_watched(files, tmp_path):
    before = loaded(files)
    assert loaded(files).listen_tls_certificate == before.listen_tls_certificate
    write(tmp_path / "own.pem", OWN.server(HOST))
    after = loaded(files)
    assert after.listen_tls_certificate != before.listen_tls_certificate == str(tmp_path / "own.pem")
    assert {path for path, *_rest in after.seen} == {str(tmp_path / name) for name in ("own.pem", "ca.pem", "crl.pem")}


def test_what_is_expired_is_a_mistake_only_where_it_would_take_the_place_of_a_good_one(files, tmp_path):
    good = loaded(files)
    write(tmp_path / "own.pem", OWN.server(HOST, ends=-0.1))
    assert any("the certificate ended at" in one for one in loaded(files).warnings)
    assert "the certificate ended at" in mistakes(files, before=good)[0]
    expired = loaded(files)
    assert any("the certificate ended at" in one for one in loaded(files, before=expired).warnings)


def test_a_tunnel_over_tls_needs_more_descriptors(files):
    both = limits_of(loaded(files), 1), limits_of(load([], {}), 1)
    assert both[0].own_tunnels == both[1].own_tunnels // 2
    relayed = limits_of(load(["--relay-proxy", "https://proxy.example.com:3129"], {}), 1)
    assert relayed.own_tunnels == both[0].own_tunnels
    assert not [name for name in os.listdir("/proc/self/fd") if _target(name).startswith("/memfd:ogw pem")]


def _target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""
