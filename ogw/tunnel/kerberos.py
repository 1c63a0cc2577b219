"""Kerberos tickets and tokens through GSSAPI. Every call here may wait for a KDC: make it in a thread. No gevent here.

It imports gssapi, which only who wants Kerberos has, so it is imported only where the settings ask for it.

Not by pyspnego, which takes a new ticket from the KDC for each context of a keytab, and needs a second library for that
(krb5, which Debian does not have). Debian 12 and 13 have gssapi.
"""

import re
from typing import Any, NamedTuple

import gssapi
from gssapi.raw.exceptions import ExpiredCredentialsError
from gssapi.raw.misc import GSSError

from ogw.policy.decision import Reason

KERBEROS = gssapi.MechType.kerberos
# The tokens of Negotiate are those of SPNEGO (RFC 4559). Where Kerberos fails below it, the code of its error is lost.
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")

_FIRST = 2529638912  # of the codes of MIT Kerberos; the first 128 are those of RFC 4120, section 7.5.9
ONE_WAY = int(
    gssapi.RequirementFlag.integrity
)  # not mutual, which is what no flag means: nothing comes back behind a 200
RENEW = "renew it (kinit, k5start, sssd), or use relay-proxy-keytab"
NO_CREDENTIALS = 7 << 16  # GSS_S_NO_CRED (RFC 2744, section 3.9.1)
_SKEW, _NO_CACHE = (37, 148), (141, 142, 195)
_NO_SERVICE, _NO_KDC = (7,), (154, 156, 220)
_PRINCIPAL = re.compile(r"[^\s'\"(]+@[^\s'\")]+")

# What the KDC, or the library, says of whom we are: the reason, why, and whether it stays so until something changes.
_OF_PRINCIPAL = {
    1: (Reason.RELAY_PASSWORD_EXPIRED, "the account of relay-proxy-principal has expired; extend it in the domain"),
    6: (
        Reason.RELAY_PRINCIPAL_UNKNOWN,
        "the KDC does not know relay-proxy-principal; compare it with `klist -k` of the keytab and with the account, "
        "its realm included",
    ),
    12: (Reason.RELAY_ACCOUNT_LOCKED, "the KDC's rules do not let the account of relay-proxy-principal log on here"),
    14: (
        Reason.RELAY_KEYTAB,
        "the KDC takes none of the keytab's kinds of encryption; make the keytab anew with aes256-cts-hmac-sha1-96",
    ),
    18: (
        Reason.RELAY_ACCOUNT_LOCKED,
        "the account of relay-proxy-principal is locked or disabled; let the domain's administrator unlock it",
    ),
    23: (
        Reason.RELAY_PASSWORD_EXPIRED,
        "the password of relay-proxy-principal has expired; set another one and make the keytab anew",
    ),
}
_REFUSALS = {Reason.RELAY_PASSWORD_EXPIRED, Reason.RELAY_PRINCIPAL_UNKNOWN, Reason.RELAY_ACCOUNT_LOCKED}
_WRONG_KEY = (24, 31, 210)


class KerberosFailed(Exception):
    """Why there is no token.

    why    half a sentence
    what   a whole one that begins with the relay proxy, as in "wants Kerberos, but ..."
    lasts  asking again does not help, and may lock an account: what is asked with must change first
    """

    def __init__(self, reason: Reason, why: str, lasts: bool = False) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why
        self.what = f"wants Kerberos, but {why}"
        self.lasts = lasts

    @property
    def is_refusal(self) -> bool:
        """The KDC does not let the gateway in."""
        return self.lasts or self.reason in _REFUSALS

    def again(self) -> "KerberosFailed":
        """For another tunnel: each has a traceback of its own."""
        return KerberosFailed(self.reason, self.why, self.lasts)


def wrong_key() -> KerberosFailed:
    why = (
        "the KDC does not accept the key of relay-proxy-keytab; make the keytab anew: this one is not tried again "
        "before a reload, since that could lock the account"
    )
    return KerberosFailed(Reason.RELAY_KEYTAB, why, lasts=True)


class Ticket(NamedTuple):
    """What tokens are made of.

    seconds  that it is good for, from when it was obtained
    """

    plain: Any
    negotiated: Any
    seconds: float


class Kerberos:
    """Whom the gateway is to a KDC.

    keytab     the path of the file with its key; "": it uses the tickets of `cache`, which somebody else renews
    principal  its name in there; "": the first one
    cache      the name of a ticket cache; "": that of the environment
    """

    def __init__(self, keytab: str, principal: str, cache: str) -> None:
        self.keytab = keytab
        self.principal = principal
        self.cache = cache
        self._spare = 0

    def obtain(self, place: str) -> Ticket:
        """A ticket, kept in this place of the process's memory; one that is there and good may be it.

        Raises KerberosFailed.
        """
        try:
            return self._obtain(place)
        except ExpiredCredentialsError:
            if not self.keytab:
                why = f"the ticket in {self._cache_name} has ended; {RENEW}"
                raise KerberosFailed(Reason.RELAY_TICKET, why) from None
        except GSSError as error:
            raise self._failed(error) from None
        try:  # elsewhere: a ticket that has ended hides why there is no other
            ticket = self._obtain(f"{place}-{self._spare}")
            self._spare += 1
            return ticket
        except GSSError as error:
            raise self._failed(error) from None

    def _obtain(self, place: str) -> Ticket:
        memory = {"ccache": f"MEMORY:{place}"}
        if self.keytab:
            plain = self._credentials({"client_keytab": f"FILE:{self.keytab}", **memory}, KERBEROS)
        else:
            # A copy, so that what is fetched with it need not be written where the gateway may not write.
            found = self._credentials({"ccache": self.cache} if self.cache else None, KERBEROS)
            found.store(memory, usage="initiate", mech=KERBEROS, overwrite=True)
            plain = self._credentials(memory, KERBEROS)
        return Ticket(plain, self._credentials(memory, SPNEGO), plain.lifetime)

    def fetch(self, ticket: Ticket, host: str) -> float:
        """Have what tokens for the relay proxy on that host are made of: the seconds that none asks a KDC.

        Raises KerberosFailed.
        """
        try:
            context = _context(host, ticket.plain, KERBEROS)
            context.step()
            seconds: float = context.lifetime
            return seconds
        except GSSError as error:
            raise self._failed(error, host) from None

    def token(self, ticket: Ticket, host: str) -> bytes:
        """The first and only token of a conversation with it. Raises KerberosFailed."""
        try:
            token: bytes = _context(host, ticket.negotiated, SPNEGO).step()
            return token
        except GSSError as error:
            self.fetch(ticket, host)  # which knows why
            raise self._failed(error, host) from None

    def _credentials(self, store: Any, mech: Any) -> Any:
        name = gssapi.Name(self.principal, gssapi.NameType.user) if self.principal else None
        return gssapi.Credentials(name=name, usage="initiate", mechs=[mech], store=store)

    @property
    def _cache_name(self) -> str:
        return f"{self.cache} (relay-proxy-ticket-cache)" if self.cache else "the ticket cache of the environment"

    def _failed(self, error: Any, host: str = "") -> KerberosFailed:
        code = error.min_code - _FIRST
        if code in _NO_KDC:
            why = "no KDC of the realm answers; see krb5.conf, and ports 88 of TCP and UDP on the way"
            return KerberosFailed(Reason.RELAY_KDC_SILENT, why)
        if code in _SKEW:
            why = "this machine's clock and the KDC's differ by more than it allows; set them by the same time server"
            return KerberosFailed(Reason.RELAY_CLOCK, why)
        if host and code in _NO_SERVICE:
            why = f"the KDC knows no service HTTP/{host}; name the proxy in relay-proxy as the domain knows it"
            return KerberosFailed(Reason.RELAY_SERVICE_UNKNOWN, why)
        if code in _WRONG_KEY:
            return wrong_key()
        if code in _OF_PRINCIPAL:
            return KerberosFailed(*_OF_PRINCIPAL[code])
        return self._unfit(error, code)

    def _unfit(self, error: Any, code: int) -> KerberosFailed:
        """What is ours to use is not there, or something that has no words of its own here."""
        if self.keytab and code in _NO_CACHE:
            why = f"{self.keytab} has no key for relay-proxy-principal, or cannot be read; see `klist -k`"
            return KerberosFailed(Reason.RELAY_KEYTAB, why)
        if isinstance(error, ExpiredCredentialsError):
            return KerberosFailed(Reason.RELAY_TICKET, "the ticket has ended meanwhile")
        if not self.keytab and error.maj_code == NO_CREDENTIALS:
            return KerberosFailed(Reason.RELAY_TICKET, f"there is no ticket in {self._cache_name}; {RENEW}")
        told = error.get_all_statuses(error.min_code, False)
        words = _PRINCIPAL.sub("(hidden)", " ".join(told))
        return KerberosFailed(Reason.RELAY_KERBEROS, f"Kerberos says: {words}")


def _context(host: str, credentials: Any, mech: Any) -> Any:
    name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
    return gssapi.SecurityContext(name=name, creds=credentials, mech=mech, usage="initiate", flags=ONE_WAY)
