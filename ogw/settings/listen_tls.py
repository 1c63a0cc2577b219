"""What TLS places of listen-address are set up with: the gateway's certificate and key, and whose certificates clients
must have.

The files are read once, with all else: a worker that is started later must not need them.
"""

import ssl
import time
from typing import Any, NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import shown
from ogw.policy.identity import Revocations, certificates_in, fingerprints
from ogw.policy.rules import time_text
from ogw.settings.key_pair import named, pair_of, server_context
from ogw.settings.mistakes import Mistakes
from ogw.settings.password_file import is_open_to_all
from ogw.settings.trust import PemFile, read_pem_file

NAMES = ("listen-tls-certificate", "listen-tls-key", "listen-client-ca", "listen-client-crl")


class Lasts(NamedTuple):
    """Until when, in Unix seconds; 0 for no end, or nothing that could end.

    certificate  the gateway's own is valid
    revocations  the first of the revocation lists is to be used
    """

    certificate: float = 0.0
    revocations: float = 0.0


def listen_context(certificate: str, key: str, ca: str, crl: str, required: bool) -> ssl.SSLContext:
    """For legs of clients. Raises ssl.SSLError or ValueError where the files do not do.

    The parameters are settings of a Config. `required`: a client must have a certificate of an authority in `ca` that
    no list in `crl` revokes; each authority of its chain must have a list there, if there are any. Of those between the
    client and one that is no root this is asked elsewhere (policy/identity.py): OpenSSL would want the list of the root
    beyond, too, and cannot believe it without that root.
    """
    context = server_context(_pem(certificate), _pem(key or certificate))
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    # Many end the connection and nothing else; what is on its way to them is still to be sent, as without TLS.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    context.num_tickets = 0
    if required:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # who is named is trusted, a root or not
        with named(_pem(ca).data) as authorities:
            context.load_verify_locations(authorities)
        if crl:
            with named(Revocations(_pem(crl).data).pem()) as lists:
                context.load_verify_locations(lists)
            are_roots = all(one.issuer == one.subject for one in certificates_in(_pem(ca).data))
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN if are_roots else ssl.VERIFY_CRL_CHECK_LEAF
    return context


def authorities_of(ca: str) -> list[bytes]:
    """Their fingerprints."""
    return [known for one in certificates_in(_pem(ca).data) for known in fingerprints(one)]


def revocations_of(crl: str) -> Optional[Revocations]:
    return Revocations(_pem(crl).data) if crl else None


def _pem(file: str) -> PemFile:
    return file if isinstance(file, PemFile) else read_pem_file(file)


# The check.


def check_listen_tls(values: dict[str, Any], mistakes: Mistakes, warnings: list[str], before: Optional[Any]) -> None:
    """Add what is wrong or odd; the files' contents take the place of their paths among the values.

    before  the Config in force, at a reload: what is worse than what it has is a mistake then, and at a start only odd
    """
    values["listen_lasts"] = Lasts()
    required = values["listen_client_certificate"] == "required"
    if not any(one.tls for one in values["listen_address"]):
        if any(values[name.replace("-", "_")] for name in NAMES):
            warnings.append(_("listen-tls-* and listen-client-* do nothing: no listen-address begins with tls://"))
        return
    if not values["listen_tls_certificate"]:
        mistakes.near("listen-address", _("listen-tls-certificate: set it, too; a listen-address begins with tls://"))
        return
    if required and not values["listen_client_ca"]:
        told = _("listen-client-ca: set it, too: with listen-client-certificate = required it says whose certificates")
        mistakes.near("listen-client-certificate", told)
    if not required and (values["listen_client_ca"] or values["listen_client_crl"]):
        warnings.append(_("listen-client-ca and listen-client-crl do nothing with listen-client-certificate = off"))
    for name in NAMES:
        _read(name, values, mistakes)
    if mistakes.wrong.isdisjoint(NAMES):
        _check_own(values, mistakes, warnings, before)
    if required and values["listen_client_ca"] and mistakes.wrong.isdisjoint(NAMES[2:]):
        _check_clients(values, mistakes, warnings)
    if mistakes.wrong.isdisjoint({*NAMES, "listen-client-certificate"}):
        _try_together(values, required and bool(values["listen_client_ca"]), mistakes)


def require_tls(values: dict[str, Any], mistakes: Mistakes) -> None:
    """Of a start: where clients must show a certificate, there is a place where they can."""
    is_there = "listen-address" in mistakes.wrong or any(one.tls for one in values["listen_address"])
    if values["listen_client_certificate"] == "required" and not is_there:
        told = _("listen-client-certificate = required: no listen-address begins with tls://, so nobody would be asked")
        mistakes.near("listen-client-certificate", told)


def _read(name: str, values: dict[str, Any], mistakes: Mistakes) -> None:
    path = values[name.replace("-", "_")]
    if not path:
        return
    try:
        values[name.replace("-", "_")] = read_pem_file(path)
    except OSError as error:
        mistakes.of(name, f"{path}: {error.strerror}")


def _check_own(values: dict[str, Any], mistakes: Mistakes, warnings: list[str], before: Optional[Any]) -> None:
    certificate = values["listen_tls_certificate"]
    key = values["listen_tls_key"] or certificate
    try:
        pair = pair_of(certificate, key)
    except ValueError as error:
        is_key = key != certificate and str(error).startswith(f"{shown(key)}: ")
        mistakes.of("listen-tls-key" if is_key else "listen-tls-certificate", str(error))
        return
    if is_open_to_all(key):
        told = _("{name}: every user of this machine can read the key in {path}; chmod o-r it")
        name = "listen-tls-key" if values["listen_tls_key"] else "listen-tls-certificate"
        warnings.append(told.format(name=name, path=key))
    values["listen_lasts"] = Lasts(pair.expires)
    wrong = pair.why_not(time.time())
    if wrong and before is not None and before.listen_tls_certificate != certificate:
        mistakes.of("listen-tls-certificate", f"{shown(certificate)}: {wrong}")
    elif wrong:
        # No mistake: a gateway must start after a reboot, whenever that is; and others may come to plain places.
        told = _("listen-tls-certificate: {path}: {wrong}; clients will not trust it")
        warnings.append(told.format(path=shown(certificate), wrong=wrong))


def _check_clients(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    ca, crl = values["listen_client_ca"], values["listen_client_crl"]
    try:
        authorities = certificates_in(_pem(ca).data)
    except ValueError as error:
        mistakes.of("listen-client-ca", f"{ca}: {error}")
        return
    if not authorities:
        mistakes.of("listen-client-ca", _("{path}: no certificates in it (PEM)").format(path=ca))
    if not crl:
        return
    try:
        lists = Revocations(_pem(crl).data)
    except ValueError:
        told = _("{path}: no certificate revocation list in it (PEM, or DER)").format(path=crl)
        mistakes.of("listen-client-crl", told)
        return
    values["listen_lasts"] = values["listen_lasts"]._replace(revocations=lists.until or 0.0)
    if lists.until is not None and lists.until <= time.time():
        told = _(
            "listen-client-crl: {path}: a list in it was to be replaced by {time}: no client of its authority gets in"
        )
        warnings.append(told.format(path=crl, time=time_text(lists.until)))
    without = [one for one in authorities if one.subject.public_bytes() not in lists.issuers]
    for one in without[:3]:
        told = _("listen-client-crl: {path}: no list of {authority} is in it: no client of that authority gets in")
        warnings.append(told.format(path=crl, authority=one.subject.rfc4514_string()))


def _try_together(values: dict[str, Any], required: bool, mistakes: Mistakes) -> None:
    certificate, key, ca, crl = (values[name.replace("-", "_")] for name in NAMES)
    try:
        listen_context(certificate, key, ca, crl, required)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        mistakes.of("listen-client-ca" if required else "listen-tls-certificate", f"{ca or certificate}: {error}")
