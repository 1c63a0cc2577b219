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
_RELAY_BROKEN = N_("check the relay proxy and its log: it does not work, or is no proxy at all")
_DIGEST = N_("let the proxy offer MD5, SHA-256 or SHA-512-256 with `qop=auth`, or take another scheme")
_OTHER_NAME = N_(
    "find out why the client asked for one host and speaks to another; if both hosts are yours, set "
    "`server-name = allowed-hosts`"
)
_NO_CLIENT_NEEDS = N_(
    "check the client: a usual one does not need this much; if it does, raise `handshake-max-size` or "
    "`handshake-timeout`"
)
_TUNE_IDLE = N_("nothing, unless clients still need such tunnels; then raise `idle-timeout` or `half-closed-timeout`")

# By the reason's token (policy/decision.py).
REASONS = {
    "bad-request": Advice(N_("The first bytes are not the head of an HTTP/1 request."), _NOT_HTTP_CONNECT),
    "bad-target": Advice(N_("The CONNECT names a target that cannot exist."), _NOT_HTTP_CONNECT),
    "proxy-header-missing": Advice(
        N_("The connection came from a network of `proxy-protocol-from`, but without a PROXY header at its beginning."),
        N_(
            "switch the header on in that load balancer (haproxy: send-proxy-v2; nginx: proxy_protocol on); if "
            "clients connect from that network without the load balancer, too, name only the load balancer's own "
            "address"
        ),
    ),
    "proxy-header-malformed": Advice(
        N_("The PROXY header of a load balancer cannot be read, or was cut short."),
        N_("check the load balancer; the log says what is wrong; the gateway reads versions 1 and 2 of the header"),
    ),
    "proxy-header-not-allowed": Advice(
        N_(
            "The connection came with a PROXY header, but from no network of `proxy-protocol-from`: the header is "
            "not trusted."
        ),
        N_(
            "if it is your load balancer, name its address in `proxy-protocol-from` and set `proxy-protocol = "
            "required`; if not, somebody pretends to be another client"
        ),
    ),
    "client-tls-plain-http": Advice(
        N_("The client spoke plain HTTP to a `tls://` address."),
        N_(
            "set the client's proxy to `https://`, not `http://`; or give the gateway another `listen-address` "
            "without `tls://`"
        ),
    ),
    "client-not-allowed": Advice(
        N_("The client's address is in no network of `allowed-client`."),
        N_(
            "add the client's network to `allowed-client`; the gateway did not look up the host: `ogw explain` does, "
            "and says what its addresses need, too"
        ),
    ),
    "host-not-allowed": Advice(
        N_("No host rule that holds for this client names the host, or `denied-host` names it."),
        N_(
            "add the host, or the port to its rule (`host:8084`); if `denied-host` names it, remove it from there; "
            "the gateway did not look up the host: `ogw explain` does, and says what its addresses need, too"
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
            "add `to=NETWORK` to the host's rule, if its name should lead to a private network; if `denied-host` "
            "names the address, remove it from there"
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
    "dns-error": Advice(N_("The target's name does not exist, or no DNS server could look it up."), _NAME),
    "dns-timeout": Advice(N_("No DNS server answered within `dns-timeout`."), _NAME),
    "connection-refused": Advice(N_("Nobody listens on the target's port."), _TARGET),
    "unreachable": Advice(N_("No network of this machine leads to the target."), _TARGET),
    "connection-reset": Advice(N_("The target ended the connection while it was being made."), _TARGET),
    "connection-timeout": Advice(N_("None of the target's addresses answered within `dial-timeout`."), _TARGET),
    "too-many-tunnels": Advice(
        N_("The limit of tunnels is reached: `max-tunnels`, or what the limit of open files allows."), _RAISE
    ),
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
        N_("The relay proxy answered the CONNECT with another status than 2xx."),
        N_(
            "look at the proxy's own status, `received-status` in the answer and in the log: 407 means the password, "
            "403 the proxy's rules, 5xx a target that the proxy cannot reach"
        ),
    ),
    "relay-unreachable": Advice(N_("No connection to the relay proxy could be made."), _RELAY_BROKEN),
    "relay-closed": Advice(N_("The relay proxy closed the connection before its answer was complete."), _RELAY_BROKEN),
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
        N_(
            "The relay proxy wants Kerberos, and the clocks differ by more than it allows, which is usually five "
            "minutes."
        ),
        N_("set the clocks of this machine, the KDC and the proxy with the same time server"),
    ),
    "relay-keytab": Advice(
        N_(
            "The KDC does not accept the key of `relay-proxy-keytab`, or the keytab has no key for "
            "`relay-proxy-principal`."
        ),
        N_("make the keytab anew; the gateway tries again when the file changes, or after a reload"),
    ),
    "relay-password-expired": Advice(
        N_("The password, or the account, of `relay-proxy-principal` has expired."),
        N_("set another password and make the keytab anew, or extend the account"),
    ),
    "relay-principal-unknown": Advice(
        N_("The KDC does not know `relay-proxy-principal`."),
        N_("compare the principal, its realm included, with what `klist -k` shows of the keytab"),
    ),
    "relay-account-locked": Advice(
        N_("The account of `relay-proxy-principal` is locked or disabled, or may not log on here."),
        N_("let the domain's administrator unlock the account; the KDC is asked again after a minute"),
    ),
    "relay-service-unknown": Advice(
        N_("The KDC knows no service `HTTP/` with the name of the relay proxy."),
        N_("name the proxy in `relay-proxy` as the domain knows it, or register that name (setspn)"),
    ),
    "relay-ticket": Advice(
        N_("There is no ticket in the ticket cache, or it has expired."),
        N_("renew the ticket (kinit, k5start, sssd), or let the gateway do so: set `relay-proxy-keytab`"),
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
        N_("check the relay proxy, and the target behind it: neither answered within `dial-timeout`"),
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
        N_(
            "set `relay-proxy-auth` to a scheme that the proxy offers; the log names them; with `auto`, Basic needs "
            "an `https://` proxy"
        ),
    ),
    "relay-auth-malformed": Advice(
        N_("The relay proxy's challenge lacks a necessary part, or has a part that is too long to be sent back."),
        _RELAY_BROKEN,
    ),
    "relay-auth-algorithm": Advice(N_("The relay proxy wants Digest with a hash that ogw does not know."), _DIGEST),
    "relay-auth-qop": Advice(N_("The relay proxy wants Digest with another protection than `qop=auth`."), _DIGEST),
    "relay-auth-withheld": Advice(
        N_("The relay proxy refused the credentials before, and they were not sent again: that could lock an account."),
        N_(
            "correct the user name or the password; the password file is read again automatically; `ogw reload` "
            "tries once more"
        ),
    ),
    # Of relay proxies that speak SOCKS 5.
    "relay-socks-version": Advice(
        N_("The relay proxy of a `socks5://` or `socks5h://` URL does not speak SOCKS 5."),
        N_("correct its scheme in `relay-proxy`: the log says which one may be right"),
    ),
    "relay-socks-malformed": Advice(
        N_("The relay proxy began to speak SOCKS 5, and then sent something that no RFC defines."), _RELAY_BROKEN
    ),
    "relay-socks-method": Advice(
        N_("The relay proxy accepts none of the authentication methods that the gateway offers."),
        N_(
            "set `relay-proxy-username` and `relay-proxy-password-file`, if they are not set; else let the proxy "
            "accept a user name and a password (RFC 1929): the gateway knows no other method for SOCKS"
        ),
    ),
    "relay-socks-login": Advice(
        N_("The relay proxy does not accept the user name or the password."),
        N_("check `relay-proxy-username` and `relay-proxy-password-file`, or both in its URL"),
    ),
    "relay-socks-general-failure": Advice(
        N_("The relay proxy could not open the tunnel, and does not say why (reply 1)."),
        N_("look at the proxy's log: it may find no address of the target's name, or have a problem of its own"),
    ),
    "relay-socks-not-allowed": Advice(
        N_("The relay proxy's rules do not allow the target (reply 2)."),
        N_("allow the target in the proxy's rules, or set `relay-proxy-bypass` for it"),
    ),
    "relay-socks-network-unreachable": Advice(
        N_("No network of the relay proxy leads to the target (reply 3)."), _BEHIND_RELAY
    ),
    "relay-socks-host-unreachable": Advice(
        N_("The relay proxy does not reach the target, or does not know its name (reply 4)."), _BEHIND_RELAY
    ),
    "relay-socks-connection-refused": Advice(
        N_("The relay proxy says that nobody listens on the target's port (reply 5)."), _BEHIND_RELAY
    ),
    "relay-socks-ttl-expired": Advice(
        N_("The target did not answer the relay proxy in time (reply 6, which proxies give for a timeout)."),
        _BEHIND_RELAY,
    ),
    "relay-socks-command-not-supported": Advice(
        N_("The relay proxy opens no tunnels at all, or did not understand the request (reply 7)."),
        N_("let the proxy serve the command CONNECT; if it does already, look at its log"),
    ),
    "relay-socks-address-not-supported": Advice(
        N_("The relay proxy accepts no target of this kind: a name, or an IPv6 address (reply 8)."),
        N_(
            "if the target is a name, try `socks5://`, which sends addresses; if it is an IPv6 address, check the "
            "proxy's networks"
        ),
    ),
    "relay-socks-unknown-reply": Advice(
        N_("The relay proxy refused with a reply that no RFC defines; the log has its number."),
        N_("look up the number in the proxy's own documentation or log"),
    ),
    # Of the TLS rules.
    "not-tls": Advice(
        N_("The client's first bytes are not those of a TLS session."),
        N_("only TLS passes; if something else must pass, set `tls-rules = off`"),
    ),
    "server-name-missing": Advice(
        N_("The ClientHello names no server."),
        N_("add `no-server-name` to the host's rule (clients that connect to an IP address send none)"),
    ),
    "server-name-mismatch": Advice(N_("The ClientHello names another server than the target."), _OTHER_NAME),
    "server-name-invalid": Advice(N_("The ClientHello names several servers, or none that can exist."), _OTHER_NAME),
    "tls-version": Advice(
        N_(
            "The best TLS version that the client offers, or the one that the server chose, is below `tls-min-version`."
        ),
        N_("update the client or the server, or lower `tls-min-version`"),
    ),
    "ech-not-allowed": Advice(
        N_("The ClientHello hides its server name (Encrypted ClientHello), or looks as if it did."),
        N_("switch ECH off in the client, or let it pass: `encrypted-client-hello = allow`"),
    ),
    "hello-too-large": Advice(N_("A handshake message is larger than `handshake-max-size`."), _NO_CLIENT_NEEDS),
    "handshake-timeout": Advice(N_("The TLS handshake did not finish within `handshake-timeout`."), _NO_CLIENT_NEEDS),
    "malformed-handshake": Advice(
        N_("The session begins like a TLS handshake, but cannot be parsed."),
        N_("one side is broken or hostile: record the session and look at it with `ogw inspect`"),
    ),
    "client-certificate-not-allowed": Advice(
        N_("The client showed a certificate that is not in `allowed-client-certificate`."),
        N_("add the subject that the log shows to `allowed-client-certificate`"),
    ),
    "client-certificate-not-sent": Advice(
        N_("The server asked for a client certificate, and the client sent none."),
        N_("set the certificate up in the client"),
    ),
    "client-certificate-unseen": Advice(
        N_("It cannot be seen from outside whether the client of this session has an allowed certificate."),
        N_("TLS 1.3 or a resumed session hides it; `unseen-client-certificate = allow` lets such sessions pass"),
    ),
    "too-many-handshake-bytes": Advice(
        N_("The worker held more than `handshake-memory` of unfinished TLS handshakes, and this client most of them."),
        N_(
            "find out why that client begins so many sessions and finishes none; if it may do so, raise "
            "`handshake-memory`"
        ),
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
        N_(
            "The client's certificate is of no authority in `listen-client-ca`, or an intermediate certificate is "
            "missing."
        ),
        N_(
            "give the client a certificate of such an authority, with the intermediate certificates; or add its "
            "authority"
        ),
    ),
    "client-tls-certificate-revoked": Advice(
        N_("The client's certificate is in `listen-client-crl`."),
        N_("nothing, if it was revoked on purpose; else issue a new one"),
    ),
    "client-tls-certificate-invalid": Advice(
        N_("The client's certificate cannot be used: it is for another purpose, has a weak key, or cannot be read."),
        N_("look for the cause in the log; a client's certificate that names its purposes must name `clientAuth`"),
    ),
    "client-tls-crl": Advice(
        N_(
            "It is not known whether the client's certificate is revoked: a revocation list is missing, or out of date."
        ),
        N_("put the current revocation list of each authority of its chain into `listen-client-crl`"),
    ),
    "client-tls-version": Advice(
        N_("The client offers neither TLS 1.2 nor a later version."),
        N_("update the client; the gateway speaks TLS 1.2 and 1.3 to clients"),
    ),
    "client-tls-cipher": Advice(
        N_("The client offers no cipher, group or signature that the gateway and its key can use, too."),
        N_("update the client; or use a key of a kind that it knows (RSA with 2048 bits is the oldest one)"),
    ),
    "client-tls-not-accepted": Advice(
        N_("The client ended the handshake with an alert, which the log names: it does not accept the gateway."),
        N_(
            "give the client the authority of `listen-tls-certificate`; among the alternative names of that "
            "certificate must be the DNS name or the address by which the client reaches the gateway"
        ),
    ),
    "client-tls-malformed": Advice(
        N_("What the client sent is no TLS handshake, or cannot be parsed."),
        N_("check the client: at a `tls://` address it must speak TLS to its proxy (`https://`)"),
    ),
    "client-tls-timeout": Advice(
        N_("The client's TLS handshake did not finish within `head-timeout`."), _TOO_SLOW_OR_LARGE
    ),
    "client-tls-closed": Advice(
        N_("The client left in the middle of its TLS handshake."),
        N_("nothing; if it is a client of yours, it may not trust the gateway's certificate, without saying so"),
    ),
    "client-tls-too-many": Advice(
        N_(
            "Too many clients were in the middle of a TLS handshake, or no descriptor was left; the oldest handshake "
            "was ended."
        ),
        _RAISE,
    ),
    "client-tls-draining": Advice(
        N_("The gateway was told to stop, and the client's TLS handshake had not finished."),
        N_("nothing: this gateway is stopping, and the next one takes over"),
    ),
    # How tunnels end.
    "client-closed": Advice(N_("Both sides have finished; the client was the first."), NOTHING),
    "upstream-closed": Advice(N_("Both sides have finished; the server was the first."), NOTHING),
    "client-reset": Advice(
        N_("The client broke the connection off."), N_("nothing; if it is frequent, look at the client's own log")
    ),
    "upstream-reset": Advice(
        N_("The server, or something on the way to it, broke the connection off."),
        N_("nothing; if it is frequent, look for a firewall on the way that forgets connections"),
    ),
    "client-gone": Advice(
        N_("The client left while its target was being reached."),
        N_("nothing; if it is frequent, the client waits for less time than `dial-timeout`"),
    ),
    "idle": Advice(N_("No byte passed for `idle-timeout`."), _TUNE_IDLE),
    "half-closed-timeout": Advice(
        N_("One side had finished, and the other sent nothing more for `half-closed-timeout`."), _TUNE_IDLE
    ),
    "drained": Advice(
        N_("The gateway stopped, and the tunnel had not finished within `drain-timeout`."),
        N_("if it matters, raise `drain-timeout`"),
    ),
    "not-allowed-after-reload": Advice(
        N_("A new configuration does not allow the tunnel any more (`reload-rechecks-tunnels`)."),
        N_("nothing, if the change was made on purpose"),
    ),
    "rule-ended": Advice(
        N_("The host rule that allowed the tunnel has ended, or the time in which the policy only reported."),
        N_("if the tunnel is still needed, use `ogw allowed-host add` with a later `until=`"),
    ),
    "client-tls-certificate-withdrawn": Advice(
        N_(
            "The certificate that the client came with would not be accepted now: it is revoked, has expired, or its "
            "authority is not trusted any more (`reload-rechecks-tunnels`)."
        ),
        N_("nothing, if the change was made on purpose"),
    ),
    "killed": Advice(N_("Somebody ended the tunnel with `ogw tunnel kill`."), NOTHING),
    "worker-died": Advice(
        N_("The tunnel's worker died. The tunnel is counted in the metrics, but its end is not in the log."),
        N_("see event 405"),
    ),
}
