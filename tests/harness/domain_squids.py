"""Squid as companies have it: it wants Kerberos, or NTLM, or offers both, and Basic as well."""

import os
import shutil

from harness.clocks import ahead
from harness.peers import peer, without
from harness.relays import Squid

NEGOTIATE = "/usr/lib/squid/negotiate_kerberos_auth"


class DomainSquid(Squid):
    """Asks those who come for credentials of a domain.

    realm    for Kerberos: the realm that its service is of
    winbind  for NTLM: the winbindd that judges; needs root
    users    for Basic
    clock    by how much its own is ahead, as faketime has it
    """

    def __init__(self, names, realm=None, winbind=None, users=None, clock="", **more):
        super().__init__(names, users or (), **more)
        self._realm, self._winbind = realm, winbind
        self._before = ahead(clock)
        config = self.folder / "squid.conf"
        lines = []
        if realm is not None:
            lines += self._negotiate(realm)
        if winbind is not None:
            lines += [
                f"auth_param ntlm program {peer('ntlm_auth')} --configfile={winbind.config} "
                "--helper-protocol=squid-2.5-ntlmssp",
                "auth_param ntlm children 10 startup=2 idle=1",
                "auth_param ntlm keep_alive on",
            ]
        asks = "" if users else "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
        said = config.read_text().replace("http_access allow all\n", asks)
        config.write_text("\n".join(lines) + "\n" + said)

    def _negotiate(self, realm):
        if not os.path.exists(NEGOTIATE):
            without("squid's negotiate_kerberos_auth is not installed here")
        self.renew_key()
        service = f"HTTP/{self.host}"
        return [
            f"auth_param negotiate program {NEGOTIATE} -k {self.folder}/keytab -s {service}",
            "auth_param negotiate children 10 startup=2 idle=1",
            "auth_param negotiate keep_alive on",
        ]

    def renew_key(self, realm=None):
        """Its service gets another key, which only its newest keytab has."""
        realm = realm or self._realm
        made = realm.add(f"HTTP/{self.host}")
        shutil.copy(made, self.folder / "keytab")
        (self.folder / "keytab").chmod(0o644)

    def command(self):
        command = [*self._before, *super().command()]
        if self._realm is not None:
            # Its helpers would remember who came in files of the whole machine.
            words = [f"{name}={value}" for name, value in self._realm.environment.items()]
            command = ["env", *words, "KRB5RCACHENAME=none:", *command]
        return command if self._winbind is None else self._winbind.inside(*command)
