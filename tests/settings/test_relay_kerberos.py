"""Settings of Kerberos and NTLM: what goes together, what does not, and what is to be installed."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from harness.gateway import ROOT
from harness.realm import gssapi_path

from ogw.settings.loader import ConfigError, load

PROXY = "http://proxy.example:3128"


def keytab(path, *names):
    """One with a key for each of these."""
    data = b"\x05\x02"
    for name in names:
        texts = [text.encode() for text in ("OGW.EXAMPLE", *name.split("/"))]
        entry = struct.pack(">H", len(texts) - 1) + b"".join(struct.pack(">H", len(text)) + text for text in texts)
        data += struct.pack(">i", len(entry)) + entry
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(autouse=True)
def _libraries(monkeypatch):
    monkeypatch.syspath_prepend(gssapi_path() or ".")


def loaded(**flags):
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    return load(["--allowed-host", "a.example", "--relay-proxy", PROXY, *words], {})


def mistakes(**flags):
    with pytest.raises(ConfigError) as wrong:
        loaded(**flags)
    return "\n".join(wrong.value.mistakes)


def test_a_keytab_with_the_principal(tmp_path):
    path = keytab(tmp_path / "keytab", "HTTP/a.example", "gateway")
    config = loaded(relay_proxy_auth="negotiate", relay_proxy_keytab=path, relay_proxy_principal="gateway@OGW.EXAMPLE")
    assert config.relay_proxy_keytab == path and "gateway" not in repr(config.relay_proxy_principal)
    assert not config.warnings


def test_keytabs_that_are_none(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(Path(keytab(tmp_path / "whole", "gateway")).read_bytes()[:-2])
    for name, why in (("none", "No such file"), ("text", "is no keytab"), ("cut", "is cut short")):
        told = mistakes(relay_proxy_auth="negotiate", relay_proxy_keytab=str(tmp_path / name))
        assert f"{tmp_path}/{name}" in told and why in told
    assert "there is no key in it" in mistakes(
        relay_proxy_auth="negotiate", relay_proxy_keytab=keytab(tmp_path / "empty")
    )


def test_a_principal_that_the_keytab_has_not(tmp_path):
    path = keytab(tmp_path / "keytab", "gateway")
    told = mistakes(relay_proxy_auth="negotiate", relay_proxy_keytab=path, relay_proxy_principal="another")
    assert told.startswith("relay-proxy-principal: there is no key of this principal") and "klist -k" in told
    assert "another" not in told


def test_a_keytab_and_a_ticket_cache(tmp_path):
    path = keytab(tmp_path / "keytab", "gateway")
    told = mistakes(relay_proxy_auth="negotiate", relay_proxy_keytab=path, relay_proxy_ticket_cache="FILE:/x")
    assert "only one of them" in told


def test_a_keytab_that_everybody_can_read(tmp_path):
    path = keytab(tmp_path / "keytab", "gateway")
    os.chmod(path, 0o644)
    config = loaded(relay_proxy_auth="negotiate", relay_proxy_keytab=path)
    assert "chmod o-r" in config.warnings[0]


def test_what_does_nothing(tmp_path):
    config = loaded(relay_proxy_keytab=keytab(tmp_path / "keytab", "gateway"))
    assert "does nothing" in config.warnings[0]


def test_ntlm_is_named_weak_and_wants_a_user_name():
    assert "relay-proxy-username" in mistakes(relay_proxy_auth="ntlm")
    config = loaded(relay_proxy_auth="ntlm", relay_proxy_username="DOM\\user", relay_proxy_password="secret")
    assert any("weak" in warning for warning in config.warnings)


@pytest.mark.parametrize(("scheme", "library"), [("negotiate", "gssapi"), ("ntlm", "spnego")])
def test_check_says_what_to_install(scheme, library, tmp_path):
    (tmp_path / f"{library}.py").write_text(f"raise ImportError('no {library}')\n")
    words = "--relay-proxy", PROXY, "--relay-proxy-auth", scheme, "--relay-proxy-username", "u"
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "check", "--allowed-host", "a.example", *words],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        f"no {library}" in done.stderr
        and f"pip install 'ogw[{'ntlm' if scheme == 'ntlm' else 'kerberos'}]'" in done.stderr
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"relay_proxy_auth": "digest"}, "digest: set relay-proxy-username"),
        ({"relay_proxy_auth": "digest", "relay_proxy_username": "gateway"}, "there is no password for it"),
        ({"relay_proxy_username": "gateway"}, "there is no password for it"),
        ({"relay_proxy_username": "gateway", "relay_proxy_password": "5ecret"}, ""),
        ({"relay_proxy_auth": "auto"}, ""),
    ],
)
def test_half_of_what_a_relay_proxy_wants_is_told(flags, says):
    """Shown to it, it would be a refused login, which may count."""
    told = "\n".join(warning for warning in loaded(**flags).warnings if "command line" not in warning)
    assert says in told and bool(says) == bool(told)
