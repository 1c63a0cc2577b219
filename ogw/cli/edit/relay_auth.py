"""Which way a relay proxy is to know the gateway: chosen from what it offers and from what there is to show it."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.phrases import either, every

NAMES = {  # as people know them
    "negotiate": "Negotiate",
    "ntlm": "NTLM",
    "digest": "Digest",
    "basic": "Basic",
    "socks5": N_("user name and password"),
}


LIBRARIES = {"negotiate": ("gssapi", "ogw[kerberos]"), "ntlm": ("spnego", "ogw[ntlm]")}  # which few have


class Means(NamedTuple):
    """What there is to show: a user name with a password, a keytab or the name of a ticket cache; "" for none.

    lacking  the ways whose library is not there
    """

    user: str = ""
    kerberos: str = ""
    lacking: frozenset[str] = frozenset()

    @property
    def has_domain(self) -> bool:
        return "\\" in self.user


def means(user: str, kerberos: str) -> Means:
    """With what is installed here."""
    lacking = frozenset(auth for auth, (name, _extra) in LIBRARIES.items() if find_spec(name) is None)
    return Means(user, kerberos, lacking)


def chosen(offered: Sequence[str], has: Means) -> str:
    """A value of relay-proxy-auth; "" where none of what is offered will do.

    offered  schemes of a 407, in any case
    """
    there = {scheme.lower() for scheme in offered} - has.lacking
    # A user name with a domain is one of Windows: there it means NTLM, and a Digest or Basic beside it another account.
    order = (
        ("negotiate", bool(has.kerberos)),
        ("ntlm", has.has_domain),
        ("digest", bool(has.user)),
        ("basic", bool(has.user)),
        ("ntlm", bool(has.user)),
    )
    return next((auth for auth, can_be in order if can_be and auth in there), "")


def listed(offered: Sequence[str]) -> str:
    """The schemes for people: Negotiate and NTLM; "" for none."""
    return every([name_of(scheme) for scheme in offered])


def name_of(scheme: str) -> str:
    """As people know it."""
    return _(NAMES[scheme.lower()]) if scheme.lower() in NAMES else scheme


def about(auth: str, encrypted: bool) -> str:
    """What there is to know of a choice; "" for nothing."""
    if auth == "ntlm":
        return _(
            "NTLM is weak: whoever records the connection can guess the password; Negotiate with a keytab is safer"
        )
    if auth == "basic" and not encrypted:
        return _(
            "with Basic the password is sent to the relay proxy unencrypted; use https:// if the relay proxy has it"
        )
    return ""


def maybe_of_windows() -> str:
    """Of a user name with a domain, while nobody knows what the relay proxy offers."""
    return _("a user name with a domain, as Windows has them, mostly needs NTLM or Kerberos: if the relay proxy "
             "answers 407, name the scheme (relay-proxy-auth = ntlm), or set the relay proxy anew when it is "
             "up")  # fmt: skip


def what_is_missing(offered: Sequence[str], has: Means) -> str:
    """What to name, where nothing that is there will do."""
    there = {scheme.lower() for scheme in offered}
    wants_user = bool(there & {"digest", "basic", "ntlm"}) and not has.user
    wants_keytab = "negotiate" in there and not has.kerberos
    user = "'DOMAIN\\NAME'" if "ntlm" in there else "NAME"
    if wants_user and wants_keytab:
        return _("name a user name and a password (--username {user} --password-stdin), or a keytab (--auth negotiate "
                 "--keytab FILE)").format(user=user)  # fmt: skip
    if wants_user:
        return _("name a user name and a password (--username {user} --password-stdin)").format(user=user)
    if wants_keytab:
        return _("name a keytab (--auth negotiate --keytab FILE)")
    if there & has.lacking:
        extras = [f"pip install '{LIBRARIES[auth][1]}'" for auth in NAMES if auth in there & has.lacking]
        return _("a library is missing: {commands}").format(commands=either(extras))
    return _("ogw supports no scheme that the relay proxy offers; let the relay proxy offer Basic, Digest, NTLM or "
             "Negotiate to this gateway")  # fmt: skip
