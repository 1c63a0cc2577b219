"""Why a client may go to a target, or may not, and what happens then: asked of the very objects that a gateway asks.

Nothing is dialed; names are looked up where the gateway would.
"""

import os
import secrets
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Optional

from ogw.language.messages import gettext as _
from ogw.policy.decision import Decision
from ogw.policy.hosts import Match
from ogw.policy.names import NOBODY, Names
from ogw.policy.remedy import Asked, command_for
from ogw.policy.rules import time_text
from ogw.policy.tls_rules import Mode
from ogw.policy.ways import STRAIGHT
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.writers import Direct
from ogw.service.dialer import dialer_of, own_places
from ogw.settings.named import flags_without_gateway
from ogw.settings.settings import Config
from ogw.tunnel.connector import Survey
from ogw.tunnel.head import HEAD_REASONS, target_of
from ogw.wire.connect import BadTarget, HeadError, Target, parse_target, read_request
from ogw.wire.place import place
from ogw.wire.tls import version_name


class Explainer:
    """Answers for one configuration. Raises OSError or ValueError where a file that it names cannot be read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.policy = config.policy
        self._ways = config.ways
        log = Log(Direct(open_sink("/dev/null", None)))
        own = own_places(config)
        self._dialer = dialer_of(config, self.policy, log, secrets.token_bytes(6).hex().encode(), own)

    def close(self) -> None:
        self._dialer.close()

    def explain(self, asked: bytes, client: str, at: Optional[float] = None, names: Names = NOBODY) -> dict[str, Any]:
        """What the gateway would do with `CONNECT asked` of this client (IP text, and the names of its certificate).

        `at` Unix seconds, or now:

        decision, reason, status, event, detail  the answer; a decision "rejected", whose status is 0, says that the
                  tunnel is opened, and that no TLS session can pass it
        reported  why it would be refused, where it passes only because policy-mode is report; else None
        command   what would allow it, where one command does
        rules     every rule that matches the host: list, rule, source, holds, decides, obstacle
        way       None where it is refused before that, else: through ("straight" or "relay proxy"), relay_proxies in
                  the order in which they are asked, named_by (entries that name it, each with its rule; none where
                  general ones take it), passing_by (entries that would name it, but for the obstacle of their rule),
                  not_named (straight, since no entry names it and none is general), bypass (the rule), resolved_here
        addresses each that would be tried, and some that would not, with what is said of it
        more_addresses  how many others there are
        tls       what will be asked of the session; None where there is none
        names     of the client, where it has any
        """
        answer: dict[str, Any] = {"asked": asked.decode("ascii", "backslashreplace"), "target": None, "client": client}
        answer |= {"at": None if at is None else time_text(at), "policy": self.policy.hash}
        answer |= {"names": sorted(names)} if names else {}
        empty: dict[str, Any] = {"rules": [], "way": None, "addresses": [], "more_addresses": 0, "tls": None}
        decision = self.policy.judge_client(client)
        if not decision.allowed:
            named = target_of(b"CONNECT " + asked + b" HTTP/1.1\r\n\r\n", self._config.head_max_size)
            return {**answer, **self._answer(decision, client, "", at, named=named, names=names), **empty}
        try:
            request = read_request(b"CONNECT " + asked + b" HTTP/1.1\r\n\r\n", self._config.head_max_size)
            assert request is not None  # it ends
        except HeadError as error:
            return {
                **answer,
                **self._answer(Decision(False, HEAD_REASONS[type(error)], error.detail), client, "", at),
                **empty,
            }
        target = request.target
        answer["target"] = str(target)
        matches = self.policy.matches(target, client, at, names)
        decision = self.policy.judge_target(target, client, at, names)
        empty["rules"] = _rules(matches, decision)
        if not decision.allowed:
            if target.address is not None and self._dialer.is_own(target.host, target.port):
                told = _("{target} is this gateway itself, to which no rule leads")
                decision = decision._replace(detail=told.format(target=target))
            return {**answer, **self._answer(decision, client, str(target), at, names=names), **empty}
        survey = self._dialer.survey(target, decision.to, client, _clock(at))
        ending = self.policy.dead_end(target, client, decision, at)
        if survey.failure is not None:
            refused = Decision(False, survey.failure.reason, survey.failure.detail, reported=decision.reported)
            answer |= self._answer(refused, client, str(target), at, survey.failure.addresses, names=names)
        elif not ending.allowed:
            rejected = ending._replace(reported=decision.reported)
            answer |= {**self._answer(rejected, client, str(target), at, names=names), "decision": "rejected"}
        else:
            answer |= self._answer(decision, client, str(target), at, names=names)
        answer |= {"rules": empty["rules"], "way": self._way(target, client, at), "addresses": _addresses(survey)}
        answer["more_addresses"] = survey.more
        answer["tls"] = None if survey.failure is not None else self._tls(target, client, decision, at)
        return answer

    def _answer(
        self,
        decision: Decision,
        client: str,
        target: str,
        at: Optional[float],
        addresses: Sequence[str] = (),
        named: str = "",
        names: Names = NOBODY,
    ) -> dict[str, Any]:
        reason = decision.reason
        refused = decision.reported if decision.allowed else decision
        return {
            "decision": "allowed" if decision.allowed else "refused",
            "reason": reason.token,
            "status": reason.status,
            "event": reason.event,
            "detail": decision.detail,
            "reported": None if decision.reported is None else decision.reported.reason.token,
            "command": refused
            and self._command(Asked(refused.reason.token, client, target, addresses, at, named, names)),
        }

    def _command(self, asked: Asked) -> Optional[str]:
        """The command that would allow it, where there is one."""
        if self._config.file == os.devnull:
            return None  # no command can write there
        flags = flags_without_gateway(self._config)
        asked = asked._replace(by_name=self._config.names_clients)
        command = command_for(self.policy, asked, flags, self._dialer.is_own)
        if command is None or asked.addresses or not (addresses := self._guarded(asked)):
            return command
        return command_for(self.policy, asked._replace(addresses=addresses), flags, self._dialer.is_own)

    def _guarded(self, asked: Asked) -> Sequence[str]:
        """The addresses that would be refused next, where the client or the host was refused before a look-up."""
        try:
            target = parse_target((asked.target or asked.named).encode())
        except BadTarget:
            return ()
        failure = self._dialer.survey(target, (), asked.client, _clock(asked.at)).failure
        return () if failure is None else failure.addresses

    def _way(self, target: Target, client: str, at: Optional[float]) -> dict[str, Any]:
        ways, clock = self._ways, _clock(at)
        way = ways.of(target, client, clock)
        straight = way == STRAIGHT
        bypass = ways.bypassing(target, client, clock) if ways.proxies else None
        naming = [] if straight else ways.naming(target, client, clock)
        return {
            "through": "straight" if straight else "relay proxy",
            "relay_proxies": [str(ways.proxies[place]) for place in (*way.named, *way.general)],
            "named_by": [
                {"relay_proxy": str(entry.proxy), "rule": str(rule), "source": entry.source} for entry, rule in naming
            ],
            "passing_by": [
                {"relay_proxy": str(entry.proxy), "rule": str(rule), "source": entry.source, "obstacle": obstacle}
                for entry, rule, obstacle in (() if bypass else ways.passing_by(target, client, clock))
            ],
            "not_named": straight and bool(ways.proxies) and bypass is None,
            "bypass": None if bypass is None else {"rule": str(bypass), "source": bypass.source},
            "resolved_here": self._dialer.resolves(target, client, clock),
        }

    def _tls(self, target: Target, client: str, decision: Decision, at: Optional[float]) -> dict[str, Any]:
        config, rules = self._config, self.policy.tls
        if rules.mode is Mode.OFF:
            return {"rules": rules.mode.value}
        subjects = rules.subjects_for(target, client, _clock(at))
        listed = [given.text for given in config.origins["allowed-client-certificate"] if given.text]
        listed += [pattern.common_name for pattern in config.agent_certificates]
        return {
            "rules": rules.mode.value,
            "min_version": version_name(rules.min_version),
            "server_name": None if target.address is not None else target.host,
            "or_any_allowed_host": rules.any_allowed_host,
            "or_none": decision.no_server_name,
            "encrypted_client_hello": rules.ech,
            "client_certificates": None if subjects is None else listed,
            "unseen_client_certificate": None if subjects is None else config.unseen_client_certificate,
        }


def connect_target(text: str) -> bytes:
    """What a client's CONNECT would say for HOST[:PORT] as people type it; what is wrong stays wrong."""
    typed = text.encode("utf-8", "surrogateescape")
    try:
        ip_address(text)
    except ValueError:
        return typed if b":" in typed and not typed.endswith(b"]") else typed + b":443"
    return place(text, 443).encode()


def _clock(at: Optional[float]) -> Any:
    return time.time if at is None else lambda: at


def _rules(matches: Sequence[Match], decision: Decision) -> list[dict[str, Any]]:
    denying = next((match for match in matches if match.denies and not match.obstacle), None)
    return [
        {
            "list": "denied-host" if match.denies else "allowed-host",
            "rule": str(match.rule),
            "source": match.rule.source,
            "holds": not match.obstacle,
            "decides": match is denying or (decision.allowed and not match.denies and not match.obstacle),
            "obstacle": match.obstacle or None,
        }
        for match in matches
    ]


def _addresses(survey: Survey) -> list[dict[str, Any]]:
    return [
        {"address": address, "allowed": decision.allowed, "detail": decision.detail}
        for address, decision in survey.addresses
    ]
