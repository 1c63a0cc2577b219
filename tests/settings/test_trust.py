"""The file with the authorities of encrypted relay proxies."""

import os
import ssl

import pytest
import trustme

from ogw.settings.loader import ConfigError, load
from ogw.settings.trust import relay_context

MARK = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def pems():
    return [trustme.CA().cert_pem.bytes() for _number in range(2)]


def test_a_byte_order_mark_hides_no_certificate(tmp_path, pems):
    for data in (
        pems[0],
        b"".join(pems),
        MARK + pems[0],
        MARK + b"".join(pems),
        MARK + "# \u00fc\n".encode() + pems[0],
    ):
        (tmp_path / "ca.pem").write_bytes(data)
        context = relay_context(str(tmp_path / "ca.pem"))
        assert len(context.get_ca_certs()) == data.count(b"BEGIN CERTIFICATE")
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize("data", [b"", MARK, MARK + b"\n", b"-----BEGIN CERTIFICATE-----\n", None])
def test_a_file_without_certificates_trusts_nobody_and_is_a_mistake(tmp_path, pems, data):
    (tmp_path / "ca.pem").write_bytes(pems[0].decode().encode("utf-16") if data is None else data)
    with pytest.raises(OSError):
        relay_context(str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match=f"relay-proxy-ca-file: {tmp_path}/ca.pem: "):
        load(["--relay-proxy=https://p.example", f"--relay-proxy-ca-file={tmp_path}/ca.pem"], {})


def test_what_is_no_file_is_a_mistake_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place, words in {
        tmp_path / "pipe": "neither a file",
        tmp_path: "Is a directory",
        "/dev/zero": "neither",
    }.items():
        with pytest.raises(ConfigError, match=f"relay-proxy-ca-file: {place}: .*{words}"):
            load(["--relay-proxy=https://p.example", f"--relay-proxy-ca-file={place}"], {})
