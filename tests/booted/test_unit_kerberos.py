"""Kerberos under the unit, which is hardened, with the gssapi of both Debians: the keytab is a credential."""

import os
import pathlib
import shutil

import pytest
from harness.booted import Booted
from harness.domain_squids import DomainSquid
from harness.realm import Realm
from harness.roots import RELEASES, Copy, Layer
from harness.service import Service
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
NAME = "www.bench.example"
KEYTAB = "/etc/ogw/relay-proxy.keytab"


def _add(copy):
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        copy.write(path, pathlib.Path(path).read_text())
    copy.run("apt-get", "update", "-qq", timeout=120 * PATIENCE)
    words = "-qq", "--no-install-recommends", "--yes", "python3-gssapi"
    copy.run("apt-get", "install", *words, timeout=400 * PATIENCE)
    copy.run("apt-get", "clean")


@pytest.fixture(scope="module", params=RELEASES)
def booted(request):
    with Copy(request.param, Layer("kerberos", "python3-gssapi", _add)) as copy:
        copy.install_sources()
        with Booted(copy.folder) as machine:
            yield Service(machine, copy), copy.folder


def test_tunnels_through_squid_with_a_keytab_that_only_root_can_read(booted):
    service, root = booted
    with service.machine.network(), Server(echo, host="127.0.0.1"), Realm() as realm:
        with DomainSquid({NAME: "127.0.0.1"}, realm=realm) as squid:
            shutil.copy(realm.folder / "krb5.conf", root / "etc/krb5.conf")
            (root / "etc/ogw").mkdir(exist_ok=True)
            shutil.copy(realm.add("gateway"), root / KEYTAB[1:])
            os.chmod(root / KEYTAB[1:], 0o600)
            settings = {"relay_proxy": f"http://{squid.place}", "relay_proxy_auth": "negotiate", "allowed_host": NAME}
            credential = f"LoadCredential=relay-proxy.keytab:{KEYTAB}"
            variable = "Environment=OGW_RELAY_PROXY_KEYTAB=%d/relay-proxy.keytab"
            service.begin(credential, variable, **settings)
            assert all(service.passes(f"{NAME}:443") for _number in range(20)), service.said()
            assert realm.asked("TGS_REQ") >= 1
            assert "every user" not in service.said()
