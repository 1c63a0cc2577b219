"""`ogw ready`: whether clients should be sent to the running gateway, as an exit code, for health checks."""

import argparse
import os
from collections.abc import Iterable
from gettext import gettext as _

from ogw.cli.exits import FAILED, NO_GATEWAY, OK, Wrong
from ogw.cli.live.gateway import NO_GATEWAY_MEANS, add_gateway, gateway_of
from ogw.cli.parser import Parser, parser_of
from ogw.settings.loader import ConfigError, load


def parser() -> Parser:
    made = parser_of(
        "ready",
        _(
            "Say whether clients should be sent to the gateway, as /readyz does: the health check of a container, of a "
            "balancer's script, of whatever else runs commands. It asks the socket in run-dir; where that is not "
            "there, or not for this user, health-address or admin-address, as OGW_ variables and the INI file name "
            "them."
        ),
        examples=["ogw ready", "ogw ready >/dev/null || echo send no clients", "ogw ready --run-dir /run/ogw"],
        codes={
            OK: _("it should get clients"),
            FAILED: _("it should not: it starts or drains, or a worker does not answer"),
            NO_GATEWAY: NO_GATEWAY_MEANS,
        },
    )
    add_gateway(made)
    return made


def run(asked: argparse.Namespace) -> int:
    why = gateway_of(asked).not_ready(lambda: _addresses(asked))
    print(_("not ready: {why}").format(why=why) if why else _("ready"))
    return FAILED if why else OK


def _addresses(asked: argparse.Namespace) -> Iterable[tuple[str, int]]:
    """Where else the gateway of this configuration says whether it is ready. Raises Wrong."""
    try:
        config = load(["--config", asked.config] if asked.config else [], os.environ)
    except ConfigError as error:
        told = _("no gateway has a socket here that this user may ask, and where else to ask is not known:\n{mistakes}")
        raise Wrong(told.format(mistakes=error)) from None
    return [address for address in (config.health_address, config.admin_address) if address is not None]
