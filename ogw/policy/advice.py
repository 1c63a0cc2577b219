"""What each reason means, and what an administrator does about it; for `ogw events` and docs/answers.md.

Reasons of which one does the same have the same text. The command that lets pass what was refused: policy/remedy.py.
`backticks` mark what is typed or stands in a log.
"""

from gettext import gettext as _
from typing import NamedTuple


class Advice(NamedTuple):
    """Two texts for people; `do` begins in lower case: it stands in tables."""

    means: str
    do: str


NOTHING = _("nothing")

_NOT_HTTP_CONNECT = _(
    "look at the client: it does not speak HTTP/1 CONNECT, or named something that is not `host:port`"
)
_TOO_SLOW_OR_LARGE = _("look at the client: its request was too slow or too large")
_NAME = _("check the name, and the DNS server (`dns-server`)")
_TARGET = _("check the target, and the firewalls on the way")
_RAISE = _("raise the limit that the log names")
_BEHIND_RELAY = _("check the target, and the way to it from the relay proxy, whose log may say more")
_RELAY_BROKEN = _("look at the proxy: it is none, or in trouble")
_DIGEST = _("let the proxy offer MD5, SHA-256 or SHA-512-256 with `qop=auth`, or take another scheme")
_OTHER_NAME = _(
    "find out why the client asked for one host and speaks to another; `server-name = allowed-hosts` if both are yours"
)
_NO_CLIENT_NEEDS = _("look at the client: none needs as much; `handshake-max-size`, `handshake-timeout`")
_TUNE_IDLE = _("nothing, unless the client wonders; then raise `idle-timeout` or `half-closed-timeout`")

# By the reason's token (policy/decision.py).
REASONS = {
    "bad-request": Advice(_("The first bytes are not the head of an HTTP/1 request."), _NOT_HTTP_CONNECT),
    "bad-target": Advice(_("The CONNECT names a target that cannot be one."), _NOT_HTTP_CONNECT),
    "proxy-header-missing": Advice(
        _("It came from a network of `proxy-protocol-from`, but without a PROXY header in front."),
        _(
            "switch the header on in that load balancer (haproxy: send-proxy-v2; nginx: proxy_protocol on); where "
            "clients come straight from there, too, name the load balancer's own address only"
        ),
    ),
    "proxy-header-malformed": Advice(
        _("The PROXY header of a load balancer cannot be read, or was cut short."),
        _("see why in the log, and look at the load balancer; versions 1 and 2 are read"),
    ),
    "proxy-header-not-allowed": Advice(
        _("It came with a PROXY header, but from no network of `proxy-protocol-from`: the header is not believed."),
        _(
            "if it is your load balancer, name its address in `proxy-protocol-from` and set "
            "`proxy-protocol = required`; if not, somebody tries to pass for another client"
        ),
    ),
    "client-tls-plain-http": Advice(
        _("The client spoke plain HTTP to a `tls://` address."),
        _("give it the proxy as `https://`, not `http://`; or the gateway a `listen-address` without `tls://`, too"),
    ),
    "client-not-allowed": Advice(
        _("The client's address is in no network of `allowed-client`."),
        _(
            "add the client's network to `allowed-client`; nothing was looked up for it: `ogw explain` does, "
            "and names what the host's addresses need, too"
        ),
    ),
    "host-not-allowed": Advice(
        _("No host rule that is in force for this client names the host, or `denied-host` does."),
        _(
            "add the host, or the port to its rule (`host:8084`); where `denied-host` names it, remove it from there; "
            "nothing was looked up for it: `ogw explain` does, and names what its addresses need, too"
        ),
    ),
    "port-not-allowed": Advice(
        _("The host is allowed, but not on this port."), _("add the host, or the port to its rule (`host:8084`)")
    ),
    "address-not-allowed": Advice(
        _(
            "The host is allowed, but its name leads only to addresses that the address guard refuses, that "
            "`denied-host` names, or where the gateway itself listens."
        ),
        _(
            "add `to=NETWORK` to its rule, if its name should lead to a private network; where `denied-host` names the "
            "address, remove it from there"
        ),
    ),
    "not-connect": Advice(
        _("The request has another method than CONNECT: the gateway does not fetch pages."),
        _(
            "let the client use the gateway for https only: it sent plain HTTP; revocation lists and certificates over "
            "plain http are refused by design"
        ),
    ),
    "head-timeout": Advice(_("The head of the request did not end within `head-timeout`."), _TOO_SLOW_OR_LARGE),
    "head-too-large": Advice(
        _("The head of the request is larger than `head-max-size`, or has more than 100 header lines."),
        _TOO_SLOW_OR_LARGE,
    ),
    "dns-error": Advice(_("The target's name does not exist, or no DNS server could say."), _NAME),
    "dns-timeout": Advice(_("No DNS server answered within `dns-timeout`."), _NAME),
    "connection-refused": Advice(_("Nobody listens on the target's port."), _TARGET),
    "unreachable": Advice(_("No network of this machine leads to the target."), _TARGET),
    "connection-reset": Advice(_("The target ended the connection while it was being made."), _TARGET),
    "connection-timeout": Advice(_("None of the target's addresses answered within `dial-timeout`."), _TARGET),
    "too-many-tunnels": Advice(_("`max-tunnels`, or what open files allow, is reached."), _RAISE),
    "too-many-tunnels-for-client": Advice(_("The client has `max-tunnels-per-client` tunnels open."), _RAISE),
    "no-descriptors": Advice(_("The process, or the whole system, may open no more files."), _RAISE),
    "draining": Advice(
        _("The gateway was told to stop, and takes no new tunnels."),
        _("nothing: this gateway is stopping, and the next one takes over"),
    ),
    "internal-error": Advice(
        _("An error of the gateway itself ended this tunnel."),
        _("please report it, with the `traceback` of event 400"),
    ),
    # Of relay proxies.
    "relay-refused": Advice(
        _("The relay proxy answered the CONNECT with something else than 2xx."),
        _(
            "look at the proxy's own status, `received-status` in the answer and in the log: 407 is the password, "
            "403 its rules, 5xx a target that it cannot reach"
        ),
    ),
    "relay-unreachable": Advice(_("No connection to the relay proxy could be made."), _RELAY_BROKEN),
    "relay-closed": Advice(_("The relay proxy closed before its answer was whole."), _RELAY_BROKEN),
    "relay-malformed": Advice(_("What the relay proxy answered is not HTTP/1."), _RELAY_BROKEN),
    "relay-head-too-large": Advice(_("The head of the relay proxy's answer has no end."), _RELAY_BROKEN),
    "relay-untrusted": Advice(
        _("The certificate of an https:// relay proxy could not be verified."),
        _("check its certificate: `relay-proxy-ca-file`, or the name in its URL"),
    ),
    "relay-kdc-silent": Advice(
        _("The relay proxy wants Kerberos, and no KDC of the realm answered in time."),
        _("check `krb5.conf` and the way to the KDC, port 88 of TCP and UDP; other relay proxies go on"),
    ),
    "relay-clock": Advice(
        _("The relay proxy wants Kerberos, and clocks differ by more than it allows, mostly five minutes."),
        _("set the clocks of this machine, the KDC and the proxy by the same time server"),
    ),
    "relay-keytab": Advice(
        _("The KDC does not accept the key of `relay-proxy-keytab`, or that has none for `relay-proxy-principal`."),
        _("make the keytab anew; it is not tried again before the file changes, or a reload"),
    ),
    "relay-password-expired": Advice(
        _("The password, or the account, of `relay-proxy-principal` has expired."),
        _("set another password and make the keytab anew, or extend the account"),
    ),
    "relay-principal-unknown": Advice(
        _("The KDC does not know `relay-proxy-principal`."),
        _("compare it with `klist -k` of the keytab, its realm included"),
    ),
    "relay-account-locked": Advice(
        _("The account of `relay-proxy-principal` is locked or disabled, or may not log on here."),
        _("let the domain's administrator unlock it; it is asked again after a minute"),
    ),
    "relay-service-unknown": Advice(
        _("The KDC knows no service `HTTP/` with the name of the relay proxy."),
        _("name the proxy in `relay-proxy` as the domain knows it, or register that name (setspn)"),
    ),
    "relay-ticket": Advice(
        _("There is no ticket in the ticket cache, or it has ended."),
        _("renew it (kinit, k5start, sssd), or let the gateway do so: `relay-proxy-keytab`"),
    ),
    "relay-ticket-refused": Advice(
        _("The relay proxy does not accept the gateway's Kerberos ticket, nor a new one."),
        _("look at the proxy: its keytab lacks the newest key of its service, or its rules do not let the account in"),
    ),
    "relay-kerberos": Advice(
        _("Kerberos fails for another reason, which the log names."),
        _("try `kinit -k -t` with the keytab, and `kvno` with `HTTP@` and the name of the proxy"),
    ),
    "relay-connection-changed": Advice(
        _("NTLM needs one connection for its three messages, and the relay proxy closed or changed it in between."),
        _("let the proxy keep connections (squid: `auth_param ntlm keep_alive on`), or use `negotiate`"),
    ),
    "relay-timeout": Advice(
        _("The relay proxy took the connection, and gave no answer in time."),
        _("look at it, or the target behind it: neither answered within `dial-timeout`"),
    ),
    "relay-loop": Advice(
        _("The request came back to this gateway through the relay proxy."),
        _("correct `relay-proxy`: it leads back to this gateway"),
    ),
    "relay-auth-no-scheme": Advice(
        _("The relay proxy answered 407, but named no scheme to authenticate with."), _RELAY_BROKEN
    ),
    "relay-auth-not-offered": Advice(
        _("The relay proxy offers no scheme that `relay-proxy-auth` allows and the settings have credentials for."),
        _("set `relay-proxy-auth` to what the log says that it offers; with `auto`, Basic needs an `https://` proxy"),
    ),
    "relay-auth-malformed": Advice(
        _("The relay proxy's challenge lacks something, or has something that is too long to be sent back."),
        _RELAY_BROKEN,
    ),
    "relay-auth-algorithm": Advice(_("The relay proxy wants Digest with a hash that ogw does not know."), _DIGEST),
    "relay-auth-qop": Advice(_("The relay proxy wants Digest with another protection than `qop=auth`."), _DIGEST),
    "relay-auth-withheld": Advice(
        _("The relay proxy refused the credentials before, and they were not sent again: that could lock an account."),
        _("correct the user name or the password, whose file is read again by itself; `ogw reload` tries once more"),
    ),
    # Of relay proxies that speak SOCKS 5.
    "relay-socks-version": Advice(
        _("The relay proxy of a `socks5://` or `socks5h://` URL does not speak SOCKS 5."),
        _("correct its scheme in `relay-proxy`: the log says which one may be right"),
    ),
    "relay-socks-malformed": Advice(
        _("The relay proxy began to speak SOCKS 5, and went on with what no RFC has."), _RELAY_BROKEN
    ),
    "relay-socks-method": Advice(
        _("The relay proxy takes none of the ways to authenticate that it was offered."),
        _(
            "set `relay-proxy-username` and `relay-proxy-password-file`, if there are none; else let the proxy take a "
            "user name and password (RFC 1929), since no other way is spoken over SOCKS"
        ),
    ),
    "relay-socks-login": Advice(
        _("The relay proxy does not accept the user name or the password."),
        _("check `relay-proxy-username` and `relay-proxy-password-file`, or both in its URL"),
    ),
    "relay-socks-general-failure": Advice(
        _("The relay proxy could not open the tunnel, and does not say why (reply 1)."),
        _("look at its log: it may know no address of the target's name, or be in trouble itself"),
    ),
    "relay-socks-not-allowed": Advice(
        _("The relay proxy's rules do not allow the target (reply 2)."),
        _("allow the target there, or set `relay-proxy-bypass` for it"),
    ),
    "relay-socks-network-unreachable": Advice(
        _("No network of the relay proxy leads to the target (reply 3)."), _BEHIND_RELAY
    ),
    "relay-socks-host-unreachable": Advice(
        _("The relay proxy does not reach the target, or does not know its name (reply 4)."), _BEHIND_RELAY
    ),
    "relay-socks-connection-refused": Advice(
        _("Nobody listens on the target's port, says the relay proxy (reply 5)."), _BEHIND_RELAY
    ),
    "relay-socks-ttl-expired": Advice(
        _("The target did not answer the relay proxy in time (reply 6; servers say so of a timeout)."), _BEHIND_RELAY
    ),
    "relay-socks-command-not-supported": Advice(
        _("The relay proxy opens no tunnels at all, or did not understand the request (reply 7)."),
        _("let it serve the command CONNECT; if it does, look at its log"),
    ),
    "relay-socks-address-not-supported": Advice(
        _("The relay proxy takes no target of this kind: a name, or an address of IPv6 (reply 8)."),
        _("where it is a name, try `socks5://`, which sends addresses; where it is IPv6, look at the proxy's networks"),
    ),
    "relay-socks-unknown-reply": Advice(
        _("The relay proxy refused with a reply that no RFC has; the log has its number."),
        _("look it up in the proxy's own documents or log"),
    ),
    # Of the TLS rules.
    "not-tls": Advice(
        _("The client's first bytes are not those of a TLS session."),
        _("nothing but TLS passes; if something else must, `tls-rules = off`"),
    ),
    "server-name-missing": Advice(
        _("The ClientHello names no server."),
        _("add `no-server-name` to the host's rule (clients that connect to an IP address send none)"),
    ),
    "server-name-mismatch": Advice(_("The ClientHello names another server than the target."), _OTHER_NAME),
    "server-name-invalid": Advice(_("The ClientHello names several servers, or none that can exist."), _OTHER_NAME),
    "tls-version": Advice(
        _("The best TLS version offered, or the one chosen, is below `tls-min-version`."),
        _("update the client or the server, or lower `tls-min-version`"),
    ),
    "ech-not-allowed": Advice(
        _("The ClientHello hides its server name (Encrypted ClientHello), or looks as if it did."),
        _("switch it off in the client, or let it pass: `encrypted-client-hello = allow`"),
    ),
    "hello-too-large": Advice(_("A handshake message is larger than `handshake-max-size`."), _NO_CLIENT_NEEDS),
    "handshake-timeout": Advice(_("The handshake was not through within `handshake-timeout`."), _NO_CLIENT_NEEDS),
    "malformed-handshake": Advice(
        _("It begins like a TLS handshake, and cannot be parsed."),
        _("broken or hostile; record it and ask `ogw inspect`"),
    ),
    "client-certificate-not-allowed": Advice(
        _("The client showed a certificate that is not in `allowed-client-certificate`."),
        _("add the subject in the line to `allowed-client-certificate`"),
    ),
    "client-certificate-not-sent": Advice(
        _("The server asked for a client certificate, and the client sent none."),
        _("set the certificate up in the client"),
    ),
    "client-certificate-unseen": Advice(
        _("Whether the client has an allowed certificate cannot be seen from outside in this session."),
        _("TLS 1.3 or a resumed session hides it; `unseen-client-certificate = allow` lets such sessions pass"),
    ),
    "too-many-handshake-bytes": Advice(
        _("The worker held more than `handshake-memory` of unfinished TLS handshakes, and this client most of them."),
        _("find out why that client begins so many sessions and finishes none; raise `handshake-memory` if it may"),
    ),
    # Of clients' TLS legs (tls:// addresses).
    "client-tls-certificate-missing": Advice(
        _("The client showed no certificate, and `listen-client-certificate` is `required`."),
        _("set a certificate and its key up in the client, for its proxy (curl: `--proxy-cert`, `--proxy-key`)"),
    ),
    "client-tls-certificate-expired": Advice(
        _("The client's certificate has expired, by this machine's clock."), _("give the client a new one")
    ),
    "client-tls-certificate-not-yet-valid": Advice(
        _("The client's certificate is not valid yet, by this machine's clock."),
        _("compare the clocks of this machine and of the authority"),
    ),
    "client-tls-certificate-untrusted": Advice(
        _("The client's certificate is of no authority in `listen-client-ca`, or one between is missing."),
        _("give the client a certificate of yours, with those between it and its authority; or add the authority"),
    ),
    "client-tls-certificate-revoked": Advice(
        _("The client's certificate is in `listen-client-crl`."), _("nothing, if it was meant; else issue a new one")
    ),
    "client-tls-certificate-invalid": Advice(
        _("The client's certificate cannot be used for this: for another purpose, with a weak key, unreadable."),
        _("see why in the log; a client's certificate is for `clientAuth`, where it says what it is for"),
    ),
    "client-tls-crl": Advice(
        _("Whether the client's certificate is revoked cannot be known: a list is missing, or was to be replaced."),
        _("put the current list of each authority of its chain into `listen-client-crl`"),
    ),
    "client-tls-version": Advice(
        _("The client offers no TLS from 1.2 on."), _("update it; the gateway speaks TLS 1.2 and 1.3 to clients")
    ),
    "client-tls-cipher": Advice(
        _("The client offers no cipher, group or signature that the gateway and its key can use, too."),
        _("update the client; or take a key that it knows (RSA with 2048 bits is the oldest)"),
    ),
    "client-tls-not-accepted": Advice(
        _("The client ended the handshake with an alert, which the log names: it does not accept the gateway."),
        _(
            "give the client the authority of `listen-tls-certificate`; that must name the gateway as the client does, "
            "by a DNS name or an address among its alternative names"
        ),
    ),
    "client-tls-malformed": Advice(
        _("What the client said is no TLS handshake, or none that can be understood."),
        _("look at the client: at a `tls://` address it speaks TLS to its proxy (`https://`)"),
    ),
    "client-tls-timeout": Advice(
        _("The client's TLS handshake was not done within `head-timeout`."), _TOO_SLOW_OR_LARGE
    ),
    "client-tls-closed": Advice(
        _("The client left in the middle of its TLS handshake."),
        _("nothing; where it is a client of yours, it may not trust the gateway's certificate and not say so"),
    ),
    "client-tls-too-many": Advice(
        _("Too many clients were in the middle of a TLS handshake, or no descriptor was left; the oldest gave way."),
        _RAISE,
    ),
    "client-tls-draining": Advice(
        _("The gateway was told to stop, and the client's TLS handshake was not done."),
        _("nothing: this gateway is stopping, and the next one takes over"),
    ),
    # How tunnels end.
    "client-closed": Advice(_("Both sides are done; the client was the first to say so."), NOTHING),
    "upstream-closed": Advice(_("Both sides are done; the server was the first to say so."), NOTHING),
    "client-reset": Advice(
        _("The client broke the connection off."), _("nothing; if it is frequent, look at the client's own log")
    ),
    "upstream-reset": Advice(
        _("The server, or something on the way to it, broke the connection off."),
        _("nothing; if it is frequent, look for a firewall on the way that forgets connections"),
    ),
    "client-gone": Advice(
        _("The client left while its target was being reached."),
        _("nothing; if it is frequent, the client's patience is shorter than `dial-timeout`"),
    ),
    "idle": Advice(_("No byte passed for `idle-timeout`."), _TUNE_IDLE),
    "half-closed-timeout": Advice(
        _("One side was done, and the other said nothing more for `half-closed-timeout`."), _TUNE_IDLE
    ),
    "drained": Advice(
        _("The gateway stopped, and the tunnel had not finished within `drain-timeout`."),
        _("if it matters, raise `drain-timeout`"),
    ),
    "not-allowed-after-reload": Advice(
        _("A new configuration does not allow the tunnel any more (`reload-rechecks-tunnels`)."),
        _("nothing, if the change was meant"),
    ),
    "rule-ended": Advice(
        _("The host rule that allowed it, or the time in which the policy only reported, is over."),
        _("`ogw allowed-host add` with a later `until=`, if it is needed still"),
    ),
    "client-tls-certificate-withdrawn": Advice(
        _(
            "A client that came with its certificate could not come in with it now: it is revoked, has expired, or its "
            "authority is not trusted any more (`reload-rechecks-tunnels`)."
        ),
        _("nothing, if the change was meant"),
    ),
    "killed": Advice(_("Somebody ended it with `ogw tunnel kill`."), NOTHING),
    "worker-died": Advice(
        _("Its worker died. It is counted in the metrics; nobody was left to write its line."), _("see event 405")
    ),
}

_SIGN = _("let whoever keeps the list sign it (`ogw sign`), and put list and signature on the server")

# By the token of a ListReason (settings/elsewhere/signature.py): why event 303.
LIST_REASONS = {
    "list-signature-missing": Advice(
        _("There is no signature beside the list, at its URL with `.sig` behind the path."), _SIGN
    ),
    "list-signature-malformed": Advice(_("What stands there is no signature, or not a whole one."), _SIGN),
    "list-key-unknown": Advice(
        _("It is signed with a key that is not in `allowed-host-source-key`."),
        _("if the key is a new one of the list's owner, and he says so himself, add it; a removed one stays refused"),
    ),
    "list-signature-wrong": Advice(
        _("The key that the signature names did not make it: it is forged, or damaged."),
        _("ask the list's owner what stands there; if it is not his, somebody has changed it on its way"),
    ),
    "list-name-wrong": Advice(
        _("It is the signature of another list."),
        _("sign with `--name`, or let the URL end with `#NAME`; if both are right, somebody has exchanged the lists"),
    ),
    "list-signature-mismatch": Advice(
        _("It is the signature of another content; the two were fetched twice, since a server may be changing them."),
        _("put both that belong together on the server; if they do, something on the way changes the list"),
    ),
    "list-signature-expired": Advice(
        _("The signature that came has expired."),
        _("sign the list anew; and look at the clock of the gateway's machine"),
    ),
    "list-serial-old": Advice(
        _("A list came that is older than one that was seen before, or another one with the same serial."),
        _("sign the list that is meant with a higher serial; if that was done, somebody replays the old one"),
    ),
}
