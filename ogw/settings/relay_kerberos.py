"""What the settings of Kerberos and NTLM come to: the libraries that few have, the keytab, and what goes together."""

from typing import Any

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file
from ogw.settings.mistakes import Mistakes
from ogw.settings.password_file import is_open_to_all
from ogw.wire import keytab
from ogw.wire.relay_proxy import Secret

NONE = Secret("")
OURS = ("relay-proxy-keytab", "relay-proxy-principal", "relay-proxy-ticket-cache")


def check_kerberos(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    """Add what is wrong or odd. The libraries are imported, so that the processes which are forked later share them."""
    scheme = values["relay_proxy_auth"]
    given = [name for name in OURS if values[name.replace("-", "_")] not in ("", NONE)]
    kerberos = scheme == "negotiate" or (scheme == "auto" and bool(given))
    if kerberos:
        _require_gssapi(scheme, mistakes)
    elif given and scheme is not None:
        warnings.append(_("{name} does nothing: it is for relay-proxy-auth = negotiate, or auto").format(name=given[0]))
    if scheme == "ntlm":
        _check_ntlm(values, mistakes, warnings)
    if "relay-proxy-keytab" in given and "relay-proxy-ticket-cache" in given:
        mistakes.of("relay-proxy-ticket-cache", _("relay-proxy-keytab is set, too: only one of them can be"))
    if values["relay_proxy_keytab"]:
        _check_keytab(values["relay_proxy_keytab"], values["relay_proxy_principal"], mistakes, warnings)
    proxies = [entry.proxy for entry in values["relay_proxy"] or () if not entry.proxy.speaks_socks]
    addresses = [proxy for proxy in proxies if proxy.target.address is not None]
    if scheme == "negotiate" and addresses:
        warnings.append(
            _(
                "{proxy}: Kerberos knows services by name; the domain hardly knows one that is called HTTP/{host}"
            ).format(proxy=addresses[0], host=addresses[0].target.host)
        )


def _require_gssapi(scheme: str, mistakes: Mistakes) -> None:
    try:
        import gssapi  # noqa: F401  # takes 30 ms, and few need it
    except ImportError as error:
        mistakes.of(
            "relay-proxy-auth",
            _(
                "{scheme} speaks Kerberos by gssapi, which cannot be imported ({error}); apt-get install "
                "python3-gssapi, or, with a compiler and libkrb5-dev: pip install 'ogw[kerberos]'"
            ).format(scheme=scheme, error=error),
        )


def _check_ntlm(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    try:
        import spnego  # noqa: F401  # takes 100 ms, and few need it
    except ImportError as error:
        told = _(
            "ntlm is spoken by pyspnego, which cannot be imported ({error}); apt-get install python3-pyspnego, or "
            "pip install 'ogw[ntlm]'"
        )
        mistakes.of("relay-proxy-auth", told.format(error=error))
    if values["relay_proxy_username"] == NONE:
        mistakes.of("relay-proxy-auth", _("ntlm needs relay-proxy-username, as DOMAIN\\user, and its password"))
    warnings.append(
        _(
            "relay-proxy-auth = ntlm: NTLM is weak, and who hears it can guess the password; let the relay proxy offer "
            "Kerberos, and use negotiate"
        )
    )


def _check_keytab(path: str, principal: Secret, mistakes: Mistakes, warnings: list[str]) -> None:
    try:
        data = read_file(path, keytab.LARGEST)
        found = keytab.principals(data)
    except OSError as error:
        mistakes.of("relay-proxy-keytab", f"{path}: {error.strerror}")
        return
    except ValueError as error:
        told = _("{path}: {mistake}; make the keytab with ktutil, kadmin or ktpass")
        mistakes.of("relay-proxy-keytab", told.format(path=path, mistake=error))
        return
    if not found:
        mistakes.of("relay-proxy-keytab", _("{path}: there is no key in it").format(path=path))
    elif principal != NONE and not keytab.has(found, principal.reveal()):
        told = _("there is no key of this principal in {path}; `klist -k {path}` lists those that are there")
        mistakes.of("relay-proxy-principal", told.format(path=path))
    if is_open_to_all(path):
        told = _("relay-proxy-keytab: every user of this machine can read {path}; chmod o-r it")
        warnings.append(told.format(path=path))
