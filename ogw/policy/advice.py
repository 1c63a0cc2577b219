"""What each reason means, and what an administrator does about it; for `ogw events` and docs/answers.md.

Reasons of which one does the same have the same text. The command that lets pass what was refused: policy/remedy.py.
`backticks` mark what is typed or stands in a log.
"""

from typing import NamedTuple

from ogw.language.messages import gettext_noop as N_


class Advice(NamedTuple):
    """Two texts for people; `do` begins in lower case: it stands in tables."""

    means: str
    do: str


NOTHING = N_("nothing")

_NOT_HTTP_CONNECT = N_(
    "look at the client: it does not speak HTTP/1 CONNECT, or named something that is not `host:port`"
)
_TOO_SLOW_OR_LARGE = N_("look at the client: its request was too slow or too large")
_NAME = N_("check the name, and the DNS server (`dns-server`)")
_TARGET = N_("check the target, and the firewalls on the way")
_RAISE = N_("raise the limit that the log names")
_BEHIND_RELAY = N_("check the target, and the way to it from the relay proxy, whose log may say more")
_RELAY_BROKEN = N_("look at the proxy: it is none, or in trouble")
_DIGEST = N_("let the proxy offer MD5, SHA-256 or SHA-512-256 with `qop=auth`, or take another scheme")
_OTHER_NAME = N_(
    "find out why the client asked for one host and speaks to another; `server-name = allowed-hosts` if both are yours"
)
_NO_CLIENT_NEEDS = N_("look at the client: none needs as much; `handshake-max-size`, `handshake-timeout`")
_TUNE_IDLE = N_("nothing, unless the client wonders; then raise `idle-timeout` or `half-closed-timeout`")

# By the reason's token (policy/decision.py).
REASONS = {
    "bad-request": Advice(N_("The first bytes are not the head of an HTTP/1 request."), _NOT_HTTP_CONNECT),
    "bad-target": Advice(N_("The CONNECT names a target that cannot be one."), _NOT_HTTP_CONNECT),
    "proxy-header-missing": Advice(
        N_("It came from a network of `proxy-protocol-from`, but without a PROXY header in front."),
        N_(
            "switch the header on in that load balancer (haproxy: send-proxy-v2; nginx: proxy_protocol on); where "
            "clients come straight from there, too, name the load balancer's own address only"
        ),
    ),
    "proxy-header-malformed": Advice(
        N_("The PROXY header of a load balancer cannot be read, or was cut short."),
        N_("see why in the log, and look at the load balancer; versions 1 and 2 are read"),
    ),
    "proxy-header-not-allowed": Advice(
        N_("It came with a PROXY header, but from no network of `proxy-protocol-from`: the header is not believed."),
        N_(
            "if it is your load balancer, name its address in `proxy-protocol-from` and set "
            "`proxy-protocol = required`; if not, somebody tries to pass for another client"
        ),
    ),
    "client-tls-plain-http": Advice(
        N_("The client spoke plain HTTP to a `tls://` address."),
        N_("give it the proxy as `https://`, not `http://`; or the gateway a `listen-address` without `tls://`, too"),
    ),
    "client-not-allowed": Advice(
        N_("The client's address is in no network of `allowed-client`."),
        N_(
            "add the client's network to `allowed-client`; nothing was looked up for it: `ogw explain` does, "
            "and names what the host's addresses need, too"
        ),
    ),
    "host-not-allowed": Advice(
        N_("No host rule that is in force for this client names the host, or `denied-host` does."),
        N_(
            "add the host, or the port to its rule (`host:8084`); where `denied-host` names it, remove it from there; "
            "nothing was looked up for it: `ogw explain` does, and names what its addresses need, too"
        ),
    ),
    "port-not-allowed": Advice(
        N_("The host is allowed, but not on this port."), N_("add the host, or the port to its rule (`host:8084`)")
    ),
    "address-not-allowed": Advice(
        N_(
            "The host is allowed, but its name leads only to addresses that the address guard refuses, that "
            "`denied-host` names, or where the gateway itself listens."
        ),
        N_(
            "add `to=NETWORK` to its rule, if its name should lead to a private network; where `denied-host` names the "
            "address, remove it from there"
        ),
    ),
    "not-connect": Advice(
        N_("The request has another method than CONNECT: the gateway does not fetch pages."),
        N_(
            "let the client use the gateway for https only: it sent plain HTTP; revocation lists and certificates over "
            "plain http are refused by design"
        ),
    ),
    "head-timeout": Advice(N_("The head of the request did not end within `head-timeout`."), _TOO_SLOW_OR_LARGE),
    "head-too-large": Advice(
        N_("The head of the request is larger than `head-max-size`, or has more than 100 header lines."),
        _TOO_SLOW_OR_LARGE,
    ),
    "dns-error": Advice(N_("The target's name does not exist, or no DNS server could say."), _NAME),
    "dns-timeout": Advice(N_("No DNS server answered within `dns-timeout`."), _NAME),
    "connection-refused": Advice(N_("Nobody listens on the target's port."), _TARGET),
    "unreachable": Advice(N_("No network of this machine leads to the target."), _TARGET),
    "connection-reset": Advice(N_("The target ended the connection while it was being made."), _TARGET),
    "connection-timeout": Advice(N_("None of the target's addresses answered within `dial-timeout`."), _TARGET),
    "too-many-tunnels": Advice(N_("`max-tunnels`, or what open files allow, is reached."), _RAISE),
    "too-many-tunnels-for-client": Advice(N_("The client has `max-tunnels-per-client` tunnels open."), _RAISE),
    "no-descriptors": Advice(N_("The process, or the whole system, may open no more files."), _RAISE),
    "draining": Advice(
        N_("The gateway was told to stop, and takes no new tunnels."),
        N_("nothing: this gateway is stopping, and the next one takes over"),
    ),
    "internal-error": Advice(
        N_("An error of the gateway itself ended this tunnel."),
        N_("please report it, with the `traceback` of event 400"),
    ),
    # Of relay proxies.
    "relay-refused": Advice(
        N_("The relay proxy answered the CONNECT with something else than 2xx."),
        N_(
            "look at the proxy's own status, `received-status` in the answer and in the log: 407 is the password, "
            "403 its rules, 5xx a target that it cannot reach"
        ),
    ),
    "relay-unreachable": Advice(N_("No connection to the relay proxy could be made."), _RELAY_BROKEN),
    "relay-closed": Advice(N_("The relay proxy closed before its answer was whole."), _RELAY_BROKEN),
    "relay-malformed": Advice(N_("What the relay proxy answered is not HTTP/1."), _RELAY_BROKEN),
    "relay-head-too-large": Advice(N_("The head of the relay proxy's answer has no end."), _RELAY_BROKEN),
    "relay-untrusted": Advice(
        N_("The certificate of an https:// relay proxy could not be verified."),
        N_("check its certificate: `relay-proxy-ca-file`, or the name in its URL"),
    ),
    "relay-kdc-silent": Advice(
        N_("The relay proxy wants Kerberos, and no KDC of the realm answered in time."),
        N_("check `krb5.conf` and the way to the KDC, port 88 of TCP and UDP; other relay proxies go on"),
    ),
    "relay-clock": Advice(
        N_("The relay proxy wants Kerberos, and clocks differ by more than it allows, mostly five minutes."),
        N_("set the clocks of this machine, the KDC and the proxy by the same time server"),
    ),
    "relay-keytab": Advice(
        N_("The KDC does not accept the key of `relay-proxy-keytab`, or that has none for `relay-proxy-principal`."),
        N_("make the keytab anew; it is not tried again before the file changes, or a reload"),
    ),
    "relay-password-expired": Advice(
        N_("The password, or the account, of `relay-proxy-principal` has expired."),
        N_("set another password and make the keytab anew, or extend the account"),
    ),
    "relay-principal-unknown": Advice(
        N_("The KDC does not know `relay-proxy-principal`."),
        N_("compare it with `klist -k` of the keytab, its realm included"),
    ),
    "relay-account-locked": Advice(
        N_("The account of `relay-proxy-principal` is locked or disabled, or may not log on here."),
        N_("let the domain's administrator unlock it; it is asked again after a minute"),
    ),
    "relay-service-unknown": Advice(
        N_("The KDC knows no service `HTTP/` with the name of the relay proxy."),
        N_("name the proxy in `relay-proxy` as the domain knows it, or register that name (setspn)"),
    ),
    "relay-ticket": Advice(
        N_("There is no ticket in the ticket cache, or it has ended."),
        N_("renew it (kinit, k5start, sssd), or let the gateway do so: `relay-proxy-keytab`"),
    ),
    "relay-ticket-refused": Advice(
        N_("The relay proxy does not accept the gateway's Kerberos ticket, nor a new one."),
        N_("look at the proxy: its keytab lacks the newest key of its service, or its rules do not let the account in"),
    ),
    "relay-kerberos": Advice(
        N_("Kerberos fails for another reason, which the log names."),
        N_("try `kinit -k -t` with the keytab, and `kvno` with `HTTP@` and the name of the proxy"),
    ),
    "relay-connection-changed": Advice(
        N_("NTLM needs one connection for its three messages, and the relay proxy closed or changed it in between."),
        N_("let the proxy keep connections (squid: `auth_param ntlm keep_alive on`), or use `negotiate`"),
    ),
    "relay-timeout": Advice(
        N_("The relay proxy took the connection, and gave no answer in time."),
        N_("look at it, or the target behind it: neither answered within `dial-timeout`"),
    ),
    "relay-loop": Advice(
        N_("The request came back to this gateway through the relay proxy."),
        N_("correct `relay-proxy`: it leads back to this gateway"),
    ),
    "relay-auth-no-scheme": Advice(
        N_("The relay proxy answered 407, but named no scheme to authenticate with."), _RELAY_BROKEN
    ),
    "relay-auth-not-offered": Advice(
        N_("The relay proxy offers no scheme that `relay-proxy-auth` allows and the settings have credentials for."),
        N_("set `relay-proxy-auth` to what the log says that it offers; with `auto`, Basic needs an `https://` proxy"),
    ),
    "relay-auth-malformed": Advice(
        N_("The relay proxy's challenge lacks something, or has something that is too long to be sent back."),
        _RELAY_BROKEN,
    ),
    "relay-auth-algorithm": Advice(N_("The relay proxy wants Digest with a hash that ogw does not know."), _DIGEST),
    "relay-auth-qop": Advice(N_("The relay proxy wants Digest with another protection than `qop=auth`."), _DIGEST),
    "relay-auth-withheld": Advice(
        N_("The relay proxy refused the credentials before, and they were not sent again: that could lock an account."),
        N_("correct the user name or the password, whose file is read again by itself; `ogw reload` tries once more"),
    ),
    # Of relay proxies that speak SOCKS 5.
    "relay-socks-version": Advice(
        N_("The relay proxy of a `socks5://` or `socks5h://` URL does not speak SOCKS 5."),
        N_("correct its scheme in `relay-proxy`: the log says which one may be right"),
    ),
    "relay-socks-malformed": Advice(
        N_("The relay proxy began to speak SOCKS 5, and went on with what no RFC has."), _RELAY_BROKEN
    ),
    "relay-socks-method": Advice(
        N_("The relay proxy takes none of the ways to authenticate that it was offered."),
        N_(
            "set `relay-proxy-username` and `relay-proxy-password-file`, if there are none; else let the proxy take a "
            "user name and password (RFC 1929), since no other way is spoken over SOCKS"
        ),
    ),
    "relay-socks-login": Advice(
        N_("The relay proxy does not accept the user name or the password."),
        N_("check `relay-proxy-username` and `relay-proxy-password-file`, or both in its URL"),
    ),
    "relay-socks-general-failure": Advice(
        N_("The relay proxy could not open the tunnel, and does not say why (reply 1)."),
        N_("look at its log: it may know no address of the target's name, or be in trouble itself"),
    ),
    "relay-socks-not-allowed": Advice(
        N_("The relay proxy's rules do not allow the target (reply 2)."),
        N_("allow the target there, or set `relay-proxy-bypass` for it"),
    ),
    "relay-socks-network-unreachable": Advice(
        N_("No network of the relay proxy leads to the target (reply 3)."), _BEHIND_RELAY
    ),
    "relay-socks-host-unreachable": Advice(
        N_("The relay proxy does not reach the target, or does not know its name (reply 4)."), _BEHIND_RELAY
    ),
    "relay-socks-connection-refused": Advice(
        N_("Nobody listens on the target's port, says the relay proxy (reply 5)."), _BEHIND_RELAY
    ),
    "relay-socks-ttl-expired": Advice(
        N_("The target did not answer the relay proxy in time (reply 6; servers say so of a timeout)."), _BEHIND_RELAY
    ),
    "relay-socks-command-not-supported": Advice(
        N_("The relay proxy opens no tunnels at all, or did not understand the request (reply 7)."),
        N_("let it serve the command CONNECT; if it does, look at its log"),
    ),
    "relay-socks-address-not-supported": Advice(
        N_("The relay proxy takes no target of this kind: a name, or an address of IPv6 (reply 8)."),
        N_(
            "where it is a name, try `socks5://`, which sends addresses; where it is IPv6, look at the proxy's networks"
        ),
    ),
    "relay-socks-unknown-reply": Advice(
        N_("The relay proxy refused with a reply that no RFC has; the log has its number."),
        N_("look it up in the proxy's own documents or log"),
    ),
    # Of the TLS rules.
    "not-tls": Advice(
        N_("The client's first bytes are not those of a TLS session."),
        N_("nothing but TLS passes; if something else must, `tls-rules = off`"),
    ),
    "server-name-missing": Advice(
        N_("The ClientHello names no server."),
        N_("add `no-server-name` to the host's rule (clients that connect to an IP address send none)"),
    ),
    "server-name-mismatch": Advice(N_("The ClientHello names another server than the target."), _OTHER_NAME),
    "server-name-invalid": Advice(N_("The ClientHello names several servers, or none that can exist."), _OTHER_NAME),
    "tls-version": Advice(
        N_("The best TLS version offered, or the one chosen, is below `tls-min-version`."),
        N_("update the client or the server, or lower `tls-min-version`"),
    ),
    "ech-not-allowed": Advice(
        N_("The ClientHello hides its server name (Encrypted ClientHello), or looks as if it did."),
        N_("switch it off in the client, or let it pass: `encrypted-client-hello = allow`"),
    ),
    "hello-too-large": Advice(N_("A handshake message is larger than `handshake-max-size`."), _NO_CLIENT_NEEDS),
    "handshake-timeout": Advice(N_("The handshake was not through within `handshake-timeout`."), _NO_CLIENT_NEEDS),
    "malformed-handshake": Advice(
        N_("It begins like a TLS handshake, and cannot be parsed."),
        N_("broken or hostile; record it and ask `ogw inspect`"),
    ),
    "client-certificate-not-allowed": Advice(
        N_("The client showed a certificate that is not in `allowed-client-certificate`."),
        N_("add the subject in the line to `allowed-client-certificate`"),
    ),
    "client-certificate-not-sent": Advice(
        N_("The server asked for a client certificate, and the client sent none."),
        N_("set the certificate up in the client"),
    ),
    "client-certificate-unseen": Advice(
        N_("Whether the client has an allowed certificate cannot be seen from outside in this session."),
        N_("TLS 1.3 or a resumed session hides it; `unseen-client-certificate = allow` lets such sessions pass"),
    ),
    "too-many-handshake-bytes": Advice(
        N_("The worker held more than `handshake-memory` of unfinished TLS handshakes, and this client most of them."),
        N_("find out why that client begins so many sessions and finishes none; raise `handshake-memory` if it may"),
    ),
    # Of clients' TLS legs (tls:// addresses).
    "client-tls-certificate-missing": Advice(
        N_("The client showed no certificate, and `listen-client-certificate` is `required`."),
        N_("set a certificate and its key up in the client, for its proxy (curl: `--proxy-cert`, `--proxy-key`)"),
    ),
    "client-tls-certificate-expired": Advice(
        N_("The client's certificate has expired, by this machine's clock."), N_("give the client a new one")
    ),
    "client-tls-certificate-not-yet-valid": Advice(
        N_("The client's certificate is not valid yet, by this machine's clock."),
        N_("compare the clocks of this machine and of the authority"),
    ),
    "client-tls-certificate-untrusted": Advice(
        N_("The client's certificate is of no authority in `listen-client-ca`, or one between is missing."),
        N_("give the client a certificate of yours, with those between it and its authority; or add the authority"),
    ),
    "client-tls-certificate-revoked": Advice(
        N_("The client's certificate is in `listen-client-crl`."), N_("nothing, if it was meant; else issue a new one")
    ),
    "client-tls-certificate-invalid": Advice(
        N_("The client's certificate cannot be used for this: for another purpose, with a weak key, unreadable."),
        N_("see why in the log; a client's certificate is for `clientAuth`, where it says what it is for"),
    ),
    "client-tls-crl": Advice(
        N_("Whether the client's certificate is revoked cannot be known: a list is missing, or was to be replaced."),
        N_("put the current list of each authority of its chain into `listen-client-crl`"),
    ),
    "client-tls-version": Advice(
        N_("The client offers no TLS from 1.2 on."), N_("update it; the gateway speaks TLS 1.2 and 1.3 to clients")
    ),
    "client-tls-cipher": Advice(
        N_("The client offers no cipher, group or signature that the gateway and its key can use, too."),
        N_("update the client; or take a key that it knows (RSA with 2048 bits is the oldest)"),
    ),
    "client-tls-not-accepted": Advice(
        N_("The client ended the handshake with an alert, which the log names: it does not accept the gateway."),
        N_(
            "give the client the authority of `listen-tls-certificate`; that must name the gateway as the client does, "
            "by a DNS name or an address among its alternative names"
        ),
    ),
    "client-tls-malformed": Advice(
        N_("What the client said is no TLS handshake, or none that can be understood."),
        N_("look at the client: at a `tls://` address it speaks TLS to its proxy (`https://`)"),
    ),
    "client-tls-timeout": Advice(
        N_("The client's TLS handshake was not done within `head-timeout`."), _TOO_SLOW_OR_LARGE
    ),
    "client-tls-closed": Advice(
        N_("The client left in the middle of its TLS handshake."),
        N_("nothing; where it is a client of yours, it may not trust the gateway's certificate and not say so"),
    ),
    "client-tls-too-many": Advice(
        N_("Too many clients were in the middle of a TLS handshake, or no descriptor was left; the oldest gave way."),
        _RAISE,
    ),
    "client-tls-draining": Advice(
        N_("The gateway was told to stop, and the client's TLS handshake was not done."),
        N_("nothing: this gateway is stopping, and the next one takes over"),
    ),
    # How tunnels end.
    "client-closed": Advice(N_("Both sides are done; the client was the first to say so."), NOTHING),
    "upstream-closed": Advice(N_("Both sides are done; the server was the first to say so."), NOTHING),
    "client-reset": Advice(
        N_("The client broke the connection off."), N_("nothing; if it is frequent, look at the client's own log")
    ),
    "upstream-reset": Advice(
        N_("The server, or something on the way to it, broke the connection off."),
        N_("nothing; if it is frequent, look for a firewall on the way that forgets connections"),
    ),
    "client-gone": Advice(
        N_("The client left while its target was being reached."),
        N_("nothing; if it is frequent, the client's patience is shorter than `dial-timeout`"),
    ),
    "idle": Advice(N_("No byte passed for `idle-timeout`."), _TUNE_IDLE),
    "half-closed-timeout": Advice(
        N_("One side was done, and the other said nothing more for `half-closed-timeout`."), _TUNE_IDLE
    ),
    "drained": Advice(
        N_("The gateway stopped, and the tunnel had not finished within `drain-timeout`."),
        N_("if it matters, raise `drain-timeout`"),
    ),
    "not-allowed-after-reload": Advice(
        N_("A new configuration does not allow the tunnel any more (`reload-rechecks-tunnels`)."),
        N_("nothing, if the change was meant"),
    ),
    "rule-ended": Advice(
        N_("The host rule that allowed it, or the time in which the policy only reported, is over."),
        N_("`ogw allowed-host add` with a later `until=`, if it is needed still"),
    ),
    "client-tls-certificate-withdrawn": Advice(
        N_(
            "A client that came with its certificate could not come in with it now: it is revoked, has expired, or its "
            "authority is not trusted any more (`reload-rechecks-tunnels`)."
        ),
        N_("nothing, if the change was meant"),
    ),
    "killed": Advice(N_("Somebody ended it with `ogw tunnel kill`."), NOTHING),
    "worker-died": Advice(
        N_("Its worker died. It is counted in the metrics; nobody was left to write its line."), N_("see event 405")
    ),
}

_SIGN = N_("let whoever keeps the list sign it (`ogw sign`), and put list and signature on the server")

# By the token of a ListReason (settings/elsewhere/signature.py): why event 303.
LIST_REASONS = {
    "list-signature-missing": Advice(
        N_("There is no signature beside the list, at its URL with `.sig` behind the path."), _SIGN
    ),
    "list-signature-malformed": Advice(N_("What stands there is no signature, or not a whole one."), _SIGN),
    "list-key-unknown": Advice(
        N_("It is signed with a key that is not in `allowed-host-source-key`."),
        N_("if the key is a new one of the list's owner, and he says so himself, add it; a removed one stays refused"),
    ),
    "list-signature-wrong": Advice(
        N_("The key that the signature names did not make it: it is forged, or damaged."),
        N_("ask the list's owner what stands there; if it is not his, somebody has changed it on its way"),
    ),
    "list-name-wrong": Advice(
        N_("It is the signature of another list."),
        N_("sign with `--name`, or let the URL end with `#NAME`; if both are right, somebody has exchanged the lists"),
    ),
    "list-signature-mismatch": Advice(
        N_("It is the signature of another content; the two were fetched twice, since a server may be changing them."),
        N_("put both that belong together on the server; if they do, something on the way changes the list"),
    ),
    "list-signature-expired": Advice(
        N_("The signature that came has expired."),
        N_("sign the list anew; and look at the clock of the gateway's machine"),
    ),
    "list-serial-old": Advice(
        N_("A list came that is older than one that was seen before, or another one with the same serial."),
        N_("sign the list that is meant with a higher serial; if that was done, somebody replays the old one"),
    ),
}
