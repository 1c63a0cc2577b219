"""The one judgement of what is kept of a tunnel: at a reload, when it opens, and when a rule that it rests on ends."""

import time
from collections.abc import Callable
from typing import NamedTuple, Optional

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.policy.hosts import Policy
from ogw.policy.names import NOBODY, Names
from ogw.policy.tls_rules import Mode
from ogw.wire.connect import Target
from ogw.wire.tls import version_name


class Session(NamedTuple):
    """What was seen of a TLS session.

    server_name  "" where the ClientHello has none
    version      the one that the server chose; 0: none was seen
    ech          the ClientHello has an encrypted_client_hello extension
    certificate  the client's, as DER; b"": the server asked for none; None: unseen, or nobody looked
    reported     a rule that it broke while the rules only reported
    """

    server_name: str = ""
    version: int = 0
    ech: bool = False
    certificate: Optional[bytes] = None
    reported: Optional[Reason] = None


UNWATCHED = Session()  # of a tunnel that opened with tls-rules = off


def recheck(
    policy: Policy,
    client: str,
    target: Target,
    address: str = "",
    session: Optional[Session] = None,
    now: Optional[float] = None,
    names: Names = NOBODY,
) -> Decision:
    """Would this policy let the tunnel be?

    address  the dialed one (IP text); "" before it is dialed, and behind a relay proxy, which resolved the name
    session  None before it is verified
    now      in Unix seconds; None reads the clock
    names    in the client's certificate

    What was not looked at is taken for broken: the client comes again, and is looked at.
    """
    decision = policy.judge_client(client)
    if not decision.allowed:
        return decision
    decision = policy.judge_target(target, client, now, names)
    if not decision.allowed:
        return decision
    address = address or (target.host if target.address is not None else "")
    if address:
        judged = policy.judge_address(address, target.port, client, decision.to, now)
        if not judged.allowed:
            return judged
    if session is None or policy.tls.mode is not Mode.ENFORCE:
        return decision
    judged = judge_hello(policy, client, target, decision.no_server_name, session, now, names)
    if judged.allowed:
        rest = _judge_answer(policy, client, target, session, now)
        if not rest.allowed:
            return rest
        return decision._replace(until=min(decision.until, judged.until))
    return judged


def judge_hello(
    policy: Policy,
    client: str,
    target: Target,
    no_server_name: bool,
    session: Session,
    now: Optional[float] = None,
    names: Names = NOBODY,
) -> Decision:
    """What a ClientHello said, and the version that was chosen, where it is known."""
    rules = policy.tls
    decision = ALLOW
    if session.server_name != target.host:
        decision = _judge_other_name(policy, client, target, no_server_name, session.server_name, now, names)
    if decision.allowed and session.ech and rules.ech == "deny":
        return Decision(
            False, Reason.ECH_NOT_ALLOWED, "it has an encrypted_client_hello extension (encrypted-client-hello)"
        )
    if decision.allowed and 0 < session.version < rules.min_version:
        least = version_name(rules.min_version)
        detail = f"its session is {version_name(session.version)}, less than {least} (tls-min-version)"
        return Decision(False, Reason.TLS_VERSION, detail)
    return decision


def _judge_other_name(
    policy: Policy, client: str, target: Target, no_server_name: bool, name: str, now: Optional[float], names: Names
) -> Decision:
    if not name:
        if no_server_name:
            return ALLOW
        detail = f"its ClientHello names no server; no-server-name in the rule of {target.host} would let it pass"
        return Decision(False, Reason.SERVER_NAME_MISSING, detail)
    if policy.tls.any_allowed_host:
        decision = policy.judge_target(Target(name, target.port), client, now, names)
        if decision.allowed and decision.reported is None:
            return decision
    detail = f"its server name is {name}, but the target is {target.host} (server-name)"
    return Decision(False, Reason.SERVER_NAME_MISMATCH, detail)


def _judge_answer(policy: Policy, client: str, target: Target, session: Session, now: Optional[float]) -> Decision:
    if session.reported is not None:
        return Decision(False, session.reported, "its handshake broke a rule while tls-rules were report")
    if not session.version:
        return Decision(False, Reason.TLS_VERSION, "nobody looked at its handshake (tls-rules)")
    clock: Callable[[], float] = time.time if now is None else lambda: now
    subjects = policy.tls.subjects_for(target, client, clock)
    if subjects is None and session.server_name not in ("", target.host):
        subjects = policy.tls.subjects_for(Target(session.server_name, target.port), client, clock)
    if subjects is None or session.certificate == b"":
        return ALLOW
    if session.certificate is None:
        if policy.tls.allow_unseen:
            return ALLOW
        detail = "its client certificate was not seen (unseen-client-certificate)"
        return Decision(False, Reason.CLIENT_CERTIFICATE_UNSEEN, detail)
    seen = subjects.judge(session.certificate)
    if seen.allowed:
        return ALLOW
    detail = f"its client certificate, of {seen.subject}, is not allowed (allowed-client-certificate)"
    return Decision(False, Reason.CLIENT_CERTIFICATE_NOT_ALLOWED, detail)
