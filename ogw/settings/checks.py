"""What settings come to together: each may be right by itself, and still not go with another."""

import ssl
import time
from gettext import gettext as _
from typing import Any

from ogw.policy.rules import time_text
from ogw.settings.password_file import is_open_to_all, read_password
from ogw.settings.trust import read_ca_file, relay_context
from ogw.wire.relay_proxy import Secret, credentials

LONGEST_REPORT = 7 * 86400.0  # seconds: a gateway that lets everything pass must not be forgotten


def check_together(values: dict[str, Any], mistakes: list[str], warnings: list[str]) -> None:
    """Add what is wrong or odd; what is read from files that settings name takes their place among the values.

    values  by the names of a Config's fields; None for what is wrong by itself
    """
    if values["tls_rules"] == "report":
        warnings.append(_("tls-rules = report: what the TLS rules would reject is logged and let pass"))
    if values["tls_rules"] == "off":
        warnings.append(_("tls-rules = off: anything passes to an allowed target, TLS or not"))
    if values["tls_rules"] == "off" and values["allowed_client_certificate"]:
        mistakes.append(_("allowed-client-certificate: nothing looks at certificates with tls-rules = off"))
    if values["client_certificate_hosts"] and not values["allowed_client_certificate"]:
        mistakes.append(_("client-certificate-hosts: set allowed-client-certificate, too; it is empty"))
    most, one = values["handshake_memory"], values["handshake_max_size"]
    if most is not None and one is not None and most < 2 * one:
        mistakes.append(_("handshake-memory: must be at least twice handshake-max-size, or one handshake fills it"))
    _check_relay_proxy(values, mistakes, warnings)
    if values["admin_name"] and (values["admin_page"] == "no" or values["admin_address"] is None):
        warnings.append(_("admin-name does nothing: it is for the page, with admin-page = yes on admin-address"))
    if len({port or 53 for _address, port in values["dns_server"]}) > 1:
        mistakes.append(_("dns-server: all DNS servers must have the same port"))
    if values["log_file"] and values["syslog"]:
        mistakes.append(_("log-file and syslog: only one of them can be set"))


def check_report(values: dict[str, Any], is_given: bool, mistakes: list[str], warnings: list[str]) -> None:
    """The same of policy-mode and its end.

    is_given  an end is, right or wrong
    """
    mode, until, now = values["policy_mode"], values["report_until"], time.time()
    if mode == "enforce" and until is not None:
        warnings.append(_("report-until does nothing with policy-mode = enforce"))
    elif mode == "report" and until is None:
        if is_given:
            return  # told already
        right = time_text((now + 86400) // 60 * 60)
        mistakes.append(
            _("policy-mode = report lets pass what no rule allows; say until when, seven days ahead at most, "
              "as in report-until = {right}").format(right=right)
        )  # fmt: skip
    elif mode == "report" and until > now + LONGEST_REPORT:
        right = time_text((now + LONGEST_REPORT) // 60 * 60)
        mistakes.append(
            _("report-until: {until} is more than seven days ahead; right is report-until = {right}, "
              "or earlier").format(until=time_text(until), right=right)
        )  # fmt: skip
    elif mode == "report" and until <= now:
        # No mistake: a gateway must start after a reboot, whenever that is.
        warnings.append(
            _("policy-mode = report ended at {until} (report-until): the policy is enforced").format(
                until=time_text(until)
            )
        )


def _check_relay_proxy(values: dict[str, Any], mistakes: list[str], warnings: list[str]) -> None:
    user, password = values["relay_proxy_username"], values["relay_proxy_password"]
    file = values["relay_proxy_password_file"]
    if password is None or user is None:
        return  # told already
    if file and password != Secret(""):
        mistakes.append(_("relay-proxy-password and relay-proxy-password-file: only one of them can be set"))
    if file and password == Secret(""):
        values["relay_proxy_password"] = _of_password_file(file, mistakes, warnings)
    if values["relay_proxy_ca_file"]:
        try:
            values["relay_proxy_ca_file"] = read_ca_file(values["relay_proxy_ca_file"])
            relay_context(values["relay_proxy_ca_file"])
        except OSError as error:  # ssl.SSLError is one, too
            why = _("no certificates in it (PEM)") if isinstance(error, ssl.SSLError) else error.strerror
            mistakes.append(f"relay-proxy-ca-file: {values['relay_proxy_ca_file']}: {why}")
    if (file or password != Secret("")) and user == Secret(""):
        mistakes.append(_("relay-proxy-username: set it, too; there is a password for it"))
    if not values["relay_proxy"] and (user != Secret("") or values["relay_proxy_bypass"]):
        warnings.append(_("relay-proxy is empty: the other settings of relay proxies do nothing"))


def _of_password_file(path: str, mistakes: list[str], warnings: list[str]) -> Secret:
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
        mistakes.append(f"relay-proxy-password-file: {path}: {error.strerror}")
    except ValueError as error:
        mistakes.append(f"relay-proxy-password-file: {path}: {error}")
    return Secret("")
