"""Which way a relay proxy is to know the gateway: chosen from what it offers and from what there is to show it."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_

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
    """The schemes for people: Negotiate, NTLM."""
    return ", ".join(_(NAMES.get(scheme.lower(), scheme)) for scheme in offered) or _("none that has a name")


def about(auth: str, encrypted: bool) -> str:
    """What there is to know of a choice; "" for nothing."""
    if auth == "ntlm":
        return _(
            "NTLM is weak: who listens can try passwords on what was said; with a keytab, Negotiate has none to guess"
        )
    if auth == "basic" and not encrypted:
        return _("with Basic the password goes to the relay proxy readable; https:// hides it, where it speaks that")
    return ""


def maybe_of_windows() -> str:
    """Of a user name with a domain, while nobody knows what the relay proxy offers."""
    return _("a user name with a domain, as Windows has them, mostly goes with NTLM or Kerberos: where the relay proxy "
             "answers 407, name the way (--auth ntlm), or set it anew once it can be asked")  # fmt: skip


def what_is_missing(offered: Sequence[str], has: Means) -> str:
    """What to name, where nothing that is there will do."""
    there = {scheme.lower() for scheme in offered}
    wanted = []
    if there & {"digest", "basic", "ntlm"} and not has.user:
        user = "'DOMAIN\\NAME'" if "ntlm" in there else "NAME"
        wanted.append(_("a user name and a password (--username {user} --password-stdin)").format(user=user))
    if "negotiate" in there and not has.kerberos:
        wanted.append(_("a keytab (--auth negotiate --keytab FILE)"))
    if not wanted and there & has.lacking:
        extras = [f"pip install '{LIBRARIES[auth][1]}'" for auth in NAMES if auth in there & has.lacking]
        return _("a library is missing: {commands}").format(commands=_(", or ").join(extras))
    if not wanted:
        return _("ogw speaks none of them; let it offer Basic, Digest, NTLM or Negotiate to this gateway")
    return _("name {wanted}").format(wanted=_(", or ").join(wanted))
