"""What the doctor finds about relay proxies: what each offers, which way is used, and what is wrong with it.

Credentials that are refused are sent once, whatever else is examined: accounts are locked after a few refusals.
"""

from typing import Optional

from ogw.cli.doctor.findings import Finding, ok, problem, untested, warning
from ogw.cli.edit.relay_auth import Means, about, chosen, listed, means, what_is_missing
from ogw.cli.edit.relay_trial import Asked, Verdict, is_refusal, told, try_each, user_of
from ogw.language.messages import gettext as _
from ogw.policy.advice import REASONS
from ogw.policy.decision import Reason
from ogw.service.offer import ask
from ogw.service.probe import Probed
from ogw.settings.settings import Config
from ogw.tunnel.asking_socks import SOCKS_REPLIES
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy

AREA = "relay proxy"


class RelayProxies:
    """Those of a configuration: first all are asked without credentials, and then those that want some are tried.

    targets  one that each is asked for; None where there is none
    refused  one did not take the credentials that all of them share
    """

    def __init__(self, config: Config, targets: dict[RelayProxy, Optional[Target]]) -> None:
        self._config = config
        self._targets = targets
        self._asked: list[Asked] = []
        self.refused = False

    def ask(self, proxy: RelayProxy) -> list[Finding]:
        target = self._targets[proxy]
        if target is None:
            if self._config.ways.is_over(proxy):
                return [warning(AREA, str(proxy), _("its entry has ended: no target goes that way any more"), "")]
            what = _("there is no single host to ask this relay proxy for; name one: --host HOST")
            return [untested(AREA, str(proxy), what)]
        asked = Asked(proxy, target, ask(self._config, proxy, target))
        if asked.wants:
            self._asked.append(asked)
            return []
        return [_without_credentials(asked)]

    def try_those_that_want_credentials(self) -> list[Finding]:
        config = self._config
        asked = sorted(self._asked, key=lambda one: list(self._targets).index(one.proxy))
        able = [one for one in asked if _has_credentials(config, one)]
        found = [self._of_none(one) for one in asked if one not in able]
        verdicts = try_each(config, able)
        shared = [verdict for one, verdict in zip(able, verdicts, strict=True) if one.proxy.credentials is None]
        self.refused = any(one.answer is not None and is_refusal(one.answer) for one in shared)
        return found + [self._judged(one, verdict) for one, verdict in zip(able, verdicts, strict=True)]

    def _means(self, asked: Asked) -> Means:
        config = self._config
        kerberos = config.relay_proxy_keytab or config.relay_proxy_ticket_cache
        return means(user_of(config.relay_proxy_username.reveal(), [asked]), kerberos)

    def _of_none(self, asked: Asked) -> Finding:
        if asked.answer.status != 407:
            return _failed(str(asked.proxy), asked.answer)
        return problem(AREA, str(asked.proxy), told(asked), what_is_missing(asked.answer.offered, self._means(asked)))

    def _judged(self, asked: Asked, verdict: Verdict) -> Finding:
        where, answer = str(asked.proxy), verdict.answer
        if answer is None:
            return untested(
                AREA,
                where,
                verdict.sentence,
                _("first correct what is wrong with the relay proxy that refused the credentials"),
            )
        if not verdict.opens:
            return _failed(where, answer)
        what = _opens(asked, answer)
        best = chosen(asked.answer.offered, self._means(asked))
        if about(answer.scheme, asked.proxy.encrypted) and best not in ("", answer.scheme):
            what = _("{what}; note: {note}").format(what=what, note=about(answer.scheme, asked.proxy.encrypted))
            return warning(AREA, where, what, _("set relay-proxy-auth = {auth}").format(auth=best))
        return ok(AREA, where, what)


def _has_credentials(config: Config, asked: Asked) -> bool:
    """Or a way that needs none of the settings, as a ticket that somebody else keeps."""
    own = asked.proxy.credentials is not None or bool(config.relay_proxy_username.reveal())
    tickets = config.relay_proxy_auth == "negotiate" or config.relay_proxy_keytab or config.relay_proxy_ticket_cache
    return own or bool(tickets)


def _opens(asked: Asked, answer: Probed) -> str:
    """With the credentials: by which scheme, where it has a name, of those that are offered."""
    what = _("opens a tunnel to {target} in {milliseconds} ms, with the credentials")
    if answer.scheme and asked.answer.offered:
        what = _(
            "opens a tunnel to {target} in {milliseconds} ms, with the credentials ({scheme}); it offers {schemes}"
        )
    elif answer.scheme:
        what = _("opens a tunnel to {target} in {milliseconds} ms, with the credentials ({scheme})")
    return what.format(
        target=asked.target,
        milliseconds=f"{answer.dial * 1000:.0f}",
        scheme=listed([answer.scheme]),
        schemes=listed(asked.answer.offered),
    )


def _without_credentials(asked: Asked) -> Finding:
    where, answer = str(asked.proxy), asked.answer
    if answer.failure is not None:
        return _failed(where, answer)
    what = _("opens a tunnel to {target} in {milliseconds} ms, without credentials").format(
        target=asked.target, milliseconds=f"{answer.dial * 1000:.0f}"
    )
    return ok(AREA, where, what)


def _failed(where: str, answer: Probed) -> Finding:
    assert answer.failure is not None
    # A refusal of the credentials is told as one: the advice for any other status is no help here.
    reason = Reason.RELAY_AUTH_WITHHELD if is_refusal(answer) and answer.status == 407 else answer.failure
    do = _(REASONS[reason.token].do)
    if answer.status not in (None, 407) or answer.failure in SOCKS_REPLIES:
        # It answers, and took the credentials or wants none; the target may be the matter.
        return warning(AREA, where, answer.detail, do)
    return problem(AREA, where, answer.detail, do)
