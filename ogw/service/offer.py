"""A relay proxy asked what it offers, and tried with what the settings have for it, as a worker would.

For commands; no tunnel of the gateway goes through here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from secrets import token_hex
from typing import TypeVar

from gevent.hub import get_hub

from ogw.policy.decision import Reason
from ogw.policy.relay_entry import RelayEntry
from ogw.policy.rules import Kind, Rule, of_stage
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.writers import Direct
from ogw.service.dialer import dialer_of, own_places
from ogw.service.probe import Probed, close, in_parallel
from ogw.settings.settings import Config
from ogw.tunnel.dial import Dialer
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target, parse_target
from ogw.wire.place import place
from ogw.wire.relay_proxy import RelayProxy, Secret

ANY_TARGET = "www.example.com:443"
CLIENT = "127.0.0.1"
MOST_SECONDS = 3600.0  # each wait has its own limit

Result = TypeVar("Result")


def target_for(config: Config, number: int) -> Target:
    """One to ask a relay proxy for, by its place in config.ways: an allowed host, where one is named without a star."""
    listed = of_stage((*config.allowed_host, *config.sourced_hosts), config.stage)
    named = [rule for entry in config.relay_proxy for rule in entry.rules]
    for rule in (*listed, *named):
        if is_single(rule):
            target = parse_target(place(str(rule.pattern), rule.port or 443).encode())
            if config.ways.may_lead(number, target):
                return target
    return parse_target(ANY_TARGET.encode())


def is_single(rule: Rule) -> bool:
    """It names one host."""
    return rule.kind is Kind.NAME or (rule.network is not None and rule.network.num_addresses == 1)


def ask(config: Config, proxy: RelayProxy, target: Target) -> Probed:
    """Ask it for a tunnel without credentials: what it offers stands in the answer."""
    none = Secret("")
    bare = replace(
        config,
        relay_proxy_auth="basic",
        relay_proxy_username=none,
        relay_proxy_password=none,
        relay_proxy_password_file="",
    )
    return try_out(bare, proxy._replace(credentials=None), target)


def try_out(config: Config, proxy: RelayProxy, target: Target) -> Probed:
    """Ask it for a tunnel as these settings say, as if it were the only one."""
    try:
        with _dialer(config, proxy) as dialer:
            began = time.monotonic()
            upstream = _dialed(dialer, config, proxy, target)
            close(upstream)
            took = time.monotonic() - began
            scheme = "" if dialer.relays is None else dialer.relays.relays[0].scheme
            return Probed(address=upstream.address, dial=took, scheme=scheme)
    except DialError as error:
        return Probed(error.reason, error.detail, status=error.status, offered=error.offered)
    except OSError as error:
        return Probed(Reason.RELAY_UNREACHABLE, f"{error.filename}: {error.strerror}")


def _dialed(dialer: Dialer, config: Config, proxy: RelayProxy, target: Target) -> Upstream:
    assert dialer.relays is not None
    if not proxy.resolves_here:
        return dialer.relays.dial(target, Mailbox())
    to = config.policy.judge_target(target, CLIENT, None).to  # of its addresses, which are looked up for it
    return dialer.dial(target, to, None, CLIENT)


@contextmanager
def _dialer(config: Config, proxy: RelayProxy) -> Iterator[Dialer]:
    log = Log(Direct(open_sink("/dev/null", None)))
    via = f"ogw-{token_hex(6)}".encode()
    alone = replace(config, relay_proxy=(RelayEntry(proxy),), relay_proxy_bypass=())
    dialer = dialer_of(alone, config.policy, log, via, own_places(config))
    try:
        yield dialer
    finally:
        dialer.close()


def waited_for(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of all of them, done at the same time. Ctrl-C is a KeyboardInterrupt here, as elsewhere."""
    get_hub().loop.update_now()  # its timers count from when it last looked at the clock
    results = in_parallel(jobs, len(jobs) or 1, MOST_SECONDS, lambda: None)
    return [result for result in results if result is not None]
