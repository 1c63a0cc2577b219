"""What settings come to together: each may be right by itself, and still not go with another."""

import errno
import os
import ssl
import stat
import time
from ipaddress import ip_address
from typing import Any, NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.language.phrases import with_hint
from ogw.policy.rules import of_stage, time_text
from ogw.report.sinks import Syslog
from ogw.settings import run_dir
from ogw.settings.listen_tls import check_listen_tls, require_tls
from ogw.settings.listening import EVERYWHERE, NO_SUCH_FAMILY, advice, require_bindable
from ogw.settings.mistakes import Mistakes, given_at
from ogw.settings.password_file import is_open_to_all, read_password
from ogw.settings.relay_kerberos import check_kerberos
from ogw.settings.setting import one_a_line
from ogw.settings.trust import read_pem_file, relay_context
from ogw.wire.place import place
from ogw.wire.relay_proxy import Secret, credentials
from ogw.wire.socks5 import require_login

LONGEST_REPORT = 7 * 86400.0  # seconds: a gateway that lets everything pass must not be forgotten


def check_together(
    values: dict[str, Any], mistakes: Mistakes, warnings: list[str], before: Optional[Any] = None
) -> None:
    """Add what is wrong or odd; what is read from files that settings name takes their place among the values.

    values  by the names of a Config's fields; without what is wrong by itself, or None for it
    before  the Config in force, at a reload
    """
    _check_report(values, mistakes, warnings)
    if values["tls_rules"] == "report":
        warnings.append(_("tls-rules = report: what the TLS rules would reject is logged and let pass"))
    if values["tls_rules"] == "off":
        warnings.append(_("tls-rules = off: anything passes to an allowed target, TLS or not"))
    if values["tls_rules"] == "off" and values["allowed_client_certificate"]:
        mistakes.of("allowed-client-certificate", _("nothing looks at certificates with tls-rules = off"))
    for pattern in values["allowed_client_certificate"]:
        if "," in pattern.common_name:  # which may be right: a company's name has one now and then
            told = _("allowed-client-certificate: {name} is taken for one common name")
            warnings.append(one_a_line(told.format(name=ascii(pattern.common_name))))
    has_certificates = values["allowed_client_certificate"] or "allowed-client-certificate" in mistakes.wrong
    if values["client_certificate_hosts"] and not has_certificates:
        mistakes.of("client-certificate-hosts", _("set allowed-client-certificate, too, which is empty"))
    most, one = values["handshake_memory"], values["handshake_max_size"]
    if most is not None and one is not None and most < 2 * one:
        given = "handshake-memory" if mistakes.is_given("handshake-memory") else "handshake-max-size"
        told = _("handshake-memory: must be at least twice handshake-max-size, or one handshake fills it")
        mistakes.near(given, told)
    _check_listen(values, mistakes, warnings)
    check_listen_tls(values, mistakes, warnings, before)
    _check_names(values, mistakes)
    _check_proxy_protocol(values, mistakes, warnings)
    _check_relay_proxy(values, mistakes, warnings)
    check_kerberos(values, mistakes, warnings)
    if values["admin_name"] and (values["admin_page"] == "no" or values["admin_address"] is None):
        warnings.append(_("admin-name does nothing: it is for the page, with admin-page = yes on admin-address"))
    if len({port or 53 for _address, port in values["dns_server"]}) > 1:
        mistakes.of("dns-server", _("all DNS servers must have the same port"))
    if values["log_file"] and values["syslog"]:
        mistakes.near("syslog", _("log-file and syslog: only one of them can be set"))


def check_start(values: dict[str, Any], mistakes: Mistakes, flags: str) -> None:
    """The same of what a start needs, and a gateway that runs does not. Nothing is made or written.

    flags  by which commands mean the INI file
    """
    _check_places(values, mistakes, flags)
    require_tls(values, mistakes)
    if values["log_file"] and (why := why_not_written(values["log_file"])):
        mistakes.of("log-file", f"{values['log_file']}: {why}")
    if values["syslog"]:
        try:
            Syslog(values["syslog"]).close()
        except OSError as error:
            mistakes.of("syslog", f"{error.filename}: {error.strerror}")
    if values["run_dir"] and (why := run_dir.why_not(values["run_dir"])):
        mistakes.of("run-dir", f"{values['run_dir']}: {why}")


def why_not_written(path: str) -> str:
    """Why no log can be appended to the file; "" where it can."""
    if os.path.basename(path) in ("", ".", ".."):
        return _("it is the name of a folder; name a file in it")
    if path == "-":
        return _("it would be a file of that name; an empty log-file is standard output")
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # opened and closed it would end what a reader reads
            return "" if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except FileNotFoundError:
        # As the kernel goes there: of `no/../x` realpath would know nothing of `no`.
        folder = os.path.dirname(os.path.realpath(path) if os.path.islink(path) else path) or "."
        if not os.path.isdir(folder):
            return _("there is no folder {folder}; make it, so that the gateway's user can write there").format(
                folder=folder
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            return _("user {user} cannot make a file in {folder}").format(user=os.geteuid(), folder=folder)
    except IsADirectoryError as error:
        return _("{error}; name a file in it").format(error=error.strerror)
    except PermissionError as error:
        return _("{error}; let user {user} write it").format(error=error.strerror, user=os.geteuid())
    except OSError as error:
        return f"{error.strerror}"
    return ""


class _Place(NamedTuple):
    """That a setting names to listen on; `value` is the setting's."""

    name: str
    host: str
    port: Optional[int]
    value: Any


def _places(values: dict[str, Any], mistakes: Mistakes) -> list[_Place]:
    """Those that somebody asked for, or that no gateway goes on without."""
    port = values["listen_port"]
    places = [_Place("listen-address", one.host, one.port or port, one) for one in values["listen_address"]]
    for name in ("admin-address", "health-address"):
        value = values[name.replace("-", "_")]
        if value is not None and mistakes.is_given(name):
            places.append(_Place(name, value[0], value[1], value))
    return places


def _check_listen(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    """What cannot be listened on beside one another. IPv4 and IPv6 never meet: ours are not mapped into each other."""
    taken = _places(values, mistakes)
    for number, (name, host, port, value) in enumerate(taken):
        if _is_nobodys(host):
            told = _("{host}: a gateway cannot listen on link-local, multicast and mapped addresses of IPv6")
            mistakes.of(name, told.format(host=host), value)
        for other, its_host, its_port, its_value in taken[:number]:
            same = other == name == "listen-address" and value.tls == its_value.tls
            if port is None or port != its_port or not _meet(host, its_host, same):
                continue
            told = _("{place} and {other} of {name} overlap; leave one of them out, or give it another port")
            mistakes.of(name, told.format(place=place(host, port), other=place(its_host, its_port), name=other), value)
            break
    if mistakes.is_given("listen-port") and all(one.port is not None for one in values["listen_address"]):
        warnings.append(_("listen-port does nothing: each listen-address has a port of its own"))
    if values["listen_freebind"] == "yes" and {one.host for one in values["listen_address"]} <= EVERYWHERE:
        warnings.append(_("listen-freebind does nothing: it is for a listen-address of its own, such as 10.1.0.100"))
    _give_way(values, mistakes, taken, warnings)


def _give_way(values: dict[str, Any], mistakes: Mistakes, taken: list[_Place], warnings: list[str]) -> None:
    """The default admin-address, of which nobody said anything, is left out where it would meet what is asked for."""
    default = values["admin_address"]
    if default is None or mistakes.is_given("admin-address"):
        return
    host, port = default
    for other in taken:
        if other.port == port and _meet(host, other.host, same_setting=False):
            told = _("admin-address: its default, {place}, is left out, since {other} of {name} overlaps it; "
                     "set another one for metrics, or an empty one for none")  # fmt: skip
            warnings.append(told.format(place=place(host, port), other=place(other.host, port), name=other.name))
            values["admin_address"] = None
            return


def _check_places(values: dict[str, Any], mistakes: Mistakes, flags: str) -> None:
    """Whether this user of this machine could listen there at all."""
    for name, host, port, value in _places(values, mistakes):
        if port is None or name in mistakes.wrong:
            continue
        for_clients = name == "listen-address"
        try:
            require_bindable(host, port, for_clients and values["listen_freebind"] == "yes")
        except OSError as error:
            if error.errno in NO_SUCH_FAMILY and not mistakes.is_given(name):
                continue  # a family that the kernel has switched off is left out where nobody asked for it
            says = "listen-port" if for_clients and value.port is None else name
            why = advice(error, port, says, flags)
            near = _near(host) if error.errno == errno.EADDRNOTAVAIL else []
            told = with_hint(_("cannot listen on {place}: {why}").format(place=place(host, port), why=why), near)
            if error.errno != errno.EACCES or value[1] is not None:
                mistakes.near(name, f"{name}: {told}", value)
            elif "listen-port" not in mistakes.wrong:  # of several addresses: it is one mistake
                mistakes.of("listen-port", told)


def _near(host: str) -> list[str]:
    """What may be meant by an IPv6 address that ends as if a port stood behind it."""
    address, _colon, port = host.rpartition(":")
    try:
        return [place(address, int(port))] if ip_address(address).version == 6 and 0 < int(port) < 65536 else []
    except ValueError:
        return []


def _is_nobodys(host: str) -> bool:
    """Bound to, on any machine, it is an invalid argument: on IPv6 we listen to IPv6 alone."""
    address = ip_address(host)
    if address.version == 4:
        return False
    return address.is_link_local or address.is_multicast or address.ipv4_mapped is not None


def _meet(host: str, other: str, same_setting: bool) -> bool:
    """One is every address of its family, and so the other one, too; the same twice in a list counts once."""
    if (":" in host) != (":" in other):
        return False
    return not same_setting if host == other else bool({host, other} & EVERYWHERE)


def _check_names(values: dict[str, Any], mistakes: Mistakes) -> None:
    """Rules that this gateway takes, and that no client could ever fit."""
    if values["listen_client_certificate"] != "off":
        return
    for rule in [rule for rule in of_stage(values["allowed_host"], values["stage"] or "") if rule.names][:1]:
        mistakes.wrong.add("allowed-host")
        mistakes.add(
            _(
                "{source}: host rule {rule}: from={name} names clients by their certificates, but no client shows one; "
                "set listen-client-certificate = required, with tls:// in listen-address and listen-client-ca, or name "
                "networks, as in from=10.1.0.0/16"
            ).format(source=rule.source, rule=ascii(rule.text), name=rule.names[0])
        )


def _check_proxy_protocol(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    mode, networks = values["proxy_protocol"], values["proxy_protocol_from"]
    if mode == "required" and not networks and "proxy-protocol-from" not in mistakes.wrong:
        mistakes.near(
            "proxy-protocol",
            _(
                "proxy-protocol = required: say from which load balancers, as in proxy-protocol-from = 10.0.0.5; "
                "without it, any client could pretend to be another one"
            ),
        )
    if mode == "off" and networks:
        warnings.append(_("proxy-protocol-from does nothing with proxy-protocol = off"))
    if mode == "required" and any(network.prefixlen == 0 for network in networks):
        warnings.append(_("proxy-protocol-from names every address: any client can pretend to be another one"))


def _check_report(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    """The same of policy-mode and its end."""
    mode, until, now = values["policy_mode"], values["report_until"], time.time()
    if mode == "enforce" and until is not None:
        warnings.append(_("report-until does nothing with policy-mode = enforce"))
    elif mode == "report" and until is None:
        if "report-until" in mistakes.wrong:
            return  # told already
        right = time_text((now + 86400) // 60 * 60)
        mistakes.near("policy-mode",
            _("policy-mode = report lets pass what no rule allows; say until when, seven days ahead at most, "
              "as in report-until = {right}").format(right=right)
        )  # fmt: skip
    elif mode == "report" and until > now + LONGEST_REPORT:
        right = time_text((now + LONGEST_REPORT) // 60 * 60)
        mistakes.of("report-until",
            _("{until} is more than seven days ahead; right is report-until = {right}, "
              "or earlier").format(until=time_text(until), right=right)
        )  # fmt: skip
    elif mode == "report" and until <= now:
        # No mistake: a gateway must start after a reboot, whenever that is.
        warnings.append(
            _("policy-mode = report ended at {until} (report-until): the policy is enforced").format(
                until=time_text(until)
            )
        )


def _check_relay_proxy(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    none = Secret("")
    user, password, file = (values[f"relay_proxy_{name}"] for name in ("username", "password", "password_file"))
    given = "relay-proxy-password-file" if file else "relay-proxy-password"
    if file and password not in (None, none):
        mistakes.near(given, _("relay-proxy-password and relay-proxy-password-file: only one of them can be set"))
    if file and password in (None, none):
        values["relay_proxy_password"] = _of_password_file(file, mistakes, warnings)
    if values["relay_proxy_ca_file"]:
        values["relay_proxy_ca_file"] = _of_ca_file(values["relay_proxy_ca_file"], mistakes)
    has_user = user != none or "relay-proxy-username" in mistakes.wrong
    if (file or password not in (None, none)) and not has_user:
        mistakes.near(given, _("relay-proxy-username: set it, too; there is a password for it"))
    relays = [entry.proxy for entry in values["relay_proxy"] or ()]
    if user not in (None, none) and any(one.speaks_socks and one.credentials is None for one in relays):
        _check_login(user, values["relay_proxy_password"], given, mistakes)
    _warn_of_ended(values, warnings)
    if not values["relay_proxy"] and (user != none or values["relay_proxy_bypass"]):
        warnings.append(_("relay-proxy is empty: the other settings of relay proxies do nothing"))
    if any(not one.speaks_socks and one.credentials is None for one in relays):
        _warn_of_halves(values, mistakes, warnings)


def _warn_of_ended(values: dict[str, Any], warnings: list[str]) -> None:
    """Entries that name targets, but until a time that is over."""
    told = _("{where}: {entry} ended at {time}: no target goes that way any more; take it out, or set a later end")
    for entry in values["relay_proxy"] or ():
        until = entry.rules[0].until if entry.rules and entry.stage in ("", values["stage"]) else None
        if until is not None and until <= time.time():
            where = given_at(entry.source, "relay-proxy")
            warnings.append(told.format(where=where, entry=entry, time=time_text(until)))


def _warn_of_halves(values: dict[str, Any], mistakes: Mistakes, warnings: list[str]) -> None:
    """Where a relay proxy by HTTP would be shown half of what it wants: that is a login that is refused."""
    if mistakes.wrong & {"relay-proxy-username", "relay-proxy-password", "relay-proxy-password-file"}:
        return
    none, scheme = Secret(""), values["relay_proxy_auth"]
    if values["relay_proxy_username"] == none and scheme == "digest":
        warnings.append(_("relay-proxy-auth = digest: set relay-proxy-username and relay-proxy-password-file, too"))
    if values["relay_proxy_username"] != none and values["relay_proxy_password"] == none and scheme != "negotiate":
        warnings.append(_("relay-proxy-username: there is no password for it; set relay-proxy-password-file, too"))


def _check_login(user: Secret, password: Optional[Secret], given: str, mistakes: Mistakes) -> None:
    """What SOCKS cannot carry is said now, not to the first client."""
    if mistakes.wrong & {"relay-proxy-username", "relay-proxy-password", "relay-proxy-password-file"}:
        return
    try:
        require_login(user.reveal(), password.reveal() if password is not None else "")
    except ValueError as error:
        mistakes.of(given, _("relay proxies that speak SOCKS: {mistake}").format(mistake=error))


def _of_ca_file(path: str, mistakes: Mistakes) -> str:
    try:
        found = read_pem_file(path)
        relay_context(found)
        return found
    except OSError as error:  # ssl.SSLError is one, too
        why = _("no certificates in it (PEM)") if isinstance(error, ssl.SSLError) else error.strerror
        mistakes.of("relay-proxy-ca-file", f"{path}: {why}")
    return path


def _of_password_file(path: str, mistakes: Mistakes, warnings: list[str]) -> Secret:
    """The password, read once as all else is: a worker that is started later must not need the file."""
    try:
        password = credentials("", read_password(path)).password
        if not password.reveal():
            warnings.append(_("relay-proxy-password-file: {file} is empty, and so is the password").format(file=path))
        if is_open_to_all(path):
            warnings.append(
                _("relay-proxy-password-file: every user of this machine can read {file}; chmod o-r it").format(
                    file=path
                )
            )
        return password
    except OSError as error:
        mistakes.of("relay-proxy-password-file", f"{path}: {error.strerror}")
    except ValueError as error:
        mistakes.of("relay-proxy-password-file", f"{path}: {error}")
    return Secret("")
