"""What the doctor packs for whoever helps from afar: facts and findings, and no secret."""

import io
import json
import os
import platform
import re
import resource
import ssl
import sys
import tarfile
import time
from contextlib import suppress
from importlib import metadata
from typing import Any, Optional

from ogw import __version__
from ogw.cli.exits import Failed, Wrong
from ogw.cli.live.gateway import Gateway
from ogw.cli.live.sockets import NoGateway
from ogw.language.messages import gettext as _
from ogw.machine.files import require_file
from ogw.report.log import timestamp
from ogw.service.limits import cores
from ogw.settings.settings import SETTINGS, Config
from ogw.wire.relay_proxy import HIDDEN, Credentials

LOG_LINES, LOG_BYTES = 1000, 4 << 20  # from the end, whichever is less
PACKAGES = ("gevent", "greenlet", "ConfigArgParse", "cryptography", "prometheus-client", "waitress", "rich", "gssapi",
            "pyspnego")  # fmt: skip
SYSCTLS = (
    *("net/ipv4/ip_local_port_range", "net/core/somaxconn", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"),
    *("net/ipv4/tcp_mem", "net/netfilter/nf_conntrack_max", "fs/file-max", "fs/nr_open"),
)
# What authenticates somebody: tokens and tickets, and what a Digest is answered with.
TOKEN = re.compile(
    r'(?i)(\b(?:negotiate|ntlm|basic|bearer)\s+)[A-Za-z0-9+/_.~-]{12,}=*|(\bresponse=\\?"?)[0-9a-f]{32,}'
)


def write_bundle(path: str, report: dict[str, Any], config: Optional[Config], gateway: Gateway) -> None:
    """A .tar.gz that only its owner may read. Raises Failed.

    report   what the doctor found
    config   None where it is wrong: then nobody knows what must not be in the log that others see
    gateway  the one that is meant, if it runs
    """
    files = {"about.json": _json(about()), "limits.json": _json(limits()), "doctor.json": _json(report)}
    if config is not None:
        files["configuration.json"] = _json(configuration(config))
        if config.log_file:
            files["log.txt"] = without_secrets(_last_lines(config.log_file), config)
    try:
        files["status.json"] = _json(gateway.status())
        files["metrics.txt"] = gateway.text("/metrics")
    except (NoGateway, Wrong) as error:
        files["gateway.txt"] = f"{error}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise Failed(_("{path} cannot be written: {error}").format(path=path, error=error.strerror)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            _pack(file, files)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)  # half of one is of no use
        raise Failed(_("{path} cannot be written: {error}").format(path=path, error=error.strerror)) from None


def require_new(path: str) -> None:
    """Before all is examined, which may take a minute. Raises Failed."""
    if path == "-":
        raise Failed(_("--bundle: name a file; nothing is packed to standard output"))
    if os.path.lexists(path):
        raise _is_there(path)


def _is_there(path: str) -> Failed:
    return Failed(_("{path} is there already; name another file").format(path=path))


def _pack(file: Any, files: dict[str, str]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in files.items():
            data = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"ogw-doctor/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))


def about() -> dict[str, Any]:
    """Versions, and what machine it is."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    packages: dict[str, Optional[str]] = {}
    for package in PACKAGES:
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            packages[package] = None
    return {
        "time": timestamp(time.time()),
        "ogw": __version__,
        "python": sys.version,
        "openssl": ssl.OPENSSL_VERSION,
        "packages": packages,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "distribution": distribution,
        "cores": cores(),
    }


def limits() -> dict[str, Any]:
    """Those of this process, and the kernel's."""
    kernel: dict[str, Optional[str]] = {}
    for name in SYSCTLS:
        try:
            with open(f"/proc/sys/{name}", encoding="ascii") as file:
                kernel[name.replace("/", ".")] = " ".join(file.read().split())
        except OSError:
            kernel[name.replace("/", ".")] = None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"open files": {"soft": soft, "hard": hard}, "kernel": kernel}


def configuration(config: Config) -> dict[str, Any]:
    """What `ogw config show` shows."""
    shown = {
        name: [{"value": given.text, "source": given.source} for given in config.origins[name]] for name in SETTINGS
    }
    return {"settings": shown, "warnings": list(config.warnings)}


def without_secrets(text: str, config: Config) -> str:
    """Text of others, such as a log file, in which no user names and passwords of relay proxies stand, and no tokens.

    The gateway never logs one; who else writes to that file nobody knows.
    """
    given = Credentials(config.relay_proxy_username, config.relay_proxy_password)
    known = [given, *(one.proxy.credentials for one in config.relay_proxy if one.proxy.credentials is not None)]
    secrets = [config.relay_proxy_principal.reveal()]
    for one in known:
        user, password = one.user.reveal(), one.password.reveal()
        if user or password:
            text = text.replace(one.header.decode("ascii").removeprefix("Basic "), HIDDEN)
        secrets += [password, user, user.rpartition("\\")[2]]  # of a domain's user, what others call him
    for secret in filter(None, secrets):
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return TOKEN.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", text)


def _last_lines(path: str) -> str:
    """Of a log that is a file: a pipe would be waited for, or robbed of its lines."""
    try:
        status = os.stat(path)
        require_file(status, path)
        with open(path, "rb") as file:
            file.seek(max(0, status.st_size - LOG_BYTES))
            lines = file.read(LOG_BYTES).splitlines(keepends=True)
        return b"".join(lines[-LOG_LINES:]).decode("utf-8", "backslashreplace")
    except OSError as error:
        return f"{path}: {error.strerror}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
