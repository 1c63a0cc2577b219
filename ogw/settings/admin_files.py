"""The files that guard admin-address: the certificate that it speaks TLS with, and the tokens of those who may ask."""

import time
from ipaddress import ip_address
from typing import Any, Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import shown
from ogw.settings.key_pair import KeyPair, read_key_pair
from ogw.settings.mistakes import Mistakes
from ogw.settings.password_file import is_open_to_all
from ogw.settings.tokens import Tokens, read_tokens

CERTIFICATE, KEY, TOKENS = "admin-tls-certificate", "admin-tls-key", "admin-token-file"


def check_admin(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> dict[str, Any]:
    """What is in them, as fields of a Config; what is wrong or odd is added.

    values  by the names of a Config's fields; without what is wrong by itself, or None for it
    """
    pair = _pair(values["admin_tls_certificate"], values["admin_tls_key"], mistakes, warnings)
    tokens = _tokens(values["admin_token_file"], mistakes)
    given = [name for name in (CERTIFICATE, KEY, TOKENS) if values[name.replace("-", "_")]]
    address = values["admin_address"]
    if given and address is None:
        warnings.append(_("{names}: without an admin-address this has no effect").format(names=", ".join(given)))
    elif tokens is not None and pair is None and not ip_address(address[0]).is_loopback:
        # No mistake: whoever encrypts before it reaches this machine (a tunnel, a mesh, a reverse proxy) needs none.
        warnings.append(
            _("admin-token-file: on admin-address {host} the token travels unencrypted, and who sees it may use it; "
              "set admin-tls-certificate and admin-tls-key, unless something else encrypts the way")
            .format(host=address[0])
        )  # fmt: skip
    return {"admin_key_pair": pair, "admin_tokens": tokens}


def _pair(certificate: str, key: str, mistakes: Mistakes, warnings: list[str]) -> Optional[KeyPair]:
    if not certificate:
        if key:
            mistakes.near(KEY, _("{missing}: set it, too; {there} is set").format(missing=CERTIFICATE, there=KEY))
        return None
    try:
        pair = read_key_pair(certificate, key or certificate)
    except ValueError as error:
        wrong = KEY if key and str(error).startswith(f"{shown(key)}: ") else CERTIFICATE
        mistakes.of(wrong, str(error))
        return None
    # No mistake: a gateway must start after a reboot, whatever became of the certificate of its metrics.
    if why := pair.why_not(time.time()):
        warnings.append(f"{CERTIFICATE}: {shown(certificate)}: {why}")
    if is_open_to_all(key or certificate):
        told = _("{name}: every user of this machine can read the key in {file}; chmod o-r it")
        warnings.append(told.format(name=KEY if key else CERTIFICATE, file=shown(key or certificate)))
    return pair


def _tokens(path: str, mistakes: Mistakes) -> Optional[Tokens]:
    if not path:
        return None
    try:
        return Tokens(read_tokens(path))
    except ValueError as error:
        mistakes.of(TOKENS, str(error))
        return None
