"""A service of systemd that is told by the drop-in of docs/clients.md, on a machine with a systemd of its own."""

import pytest
from harness.booted import Booted
from harness.dns import Dns
from harness.gateway import Gateway
from harness.pages import blocks
from harness.roots import RELEASES, Copy
from harness.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
NAME = "www.example.com"
HERE = "here it is\n"  # at https://www.example.com/
UNIT = f"[Service]\nType=oneshot\nExecStart=curl -sS --cacert /ca.pem https://{NAME}/\n"


@pytest.mark.parametrize("release", RELEASES)
def test_a_service_of_systemd_has_the_variables_by_its_drop_in(release, authority, tmp_path):
    (tmp_path / "index.html").write_text(HERE)
    with Copy(release) as copy:
        copy.write("/ca.pem", authority.cert_pem.bytes().decode())
        copy.write("/etc/systemd/system/fetch.service", UNIT)
        with (
            Booted(copy.folder) as machine,
            machine.network(),
            Site(authority, tmp_path, NAME) as site,
            Dns({NAME: [site.host]}) as dns,
            Gateway("--allowed-host", f"{NAME} to=127.0.0.0/8", *dns.flags, tls_rules=None) as gateway,
        ):
            assert machine.run("systemctl", "start", "fetch", check=False).returncode != 0
            drop_in = blocks("clients.md", "Services of systemd")[0].replace("GATEWAY", gateway.address)
            copy.write("/etc/systemd/system/fetch.service.d/override.conf", drop_in)  # where `systemctl edit` has it
            machine.run("systemctl", "daemon-reload")
            machine.run("systemctl", "start", "fetch")
            said = [entry["MESSAGE"] for entry in machine.journal("--unit=fetch", "--identifier=curl")]
            assert said[-1] + "\n" == HERE
