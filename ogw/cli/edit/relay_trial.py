"""Relay proxies are asked what they offer, and tried with what will stand in the INI file; what came of it is said."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Optional

from ogw.cli.edit.relay_auth import Means, about, chosen, listed, maybe_of_windows, means, name_of, what_is_missing
from ogw.cli.edit.relay_wish import AUTH, URL, Wish, use
from ogw.language.messages import gettext as _
from ogw.policy.decision import Reason
from ogw.service.offer import ask, target_for, try_out, waited_for
from ogw.service.probe import Probed
from ogw.settings.editing import Editor
from ogw.settings.loader import ConfigError, load
from ogw.settings.password_file import read_password
from ogw.settings.settings import Config
from ogw.tunnel.asking_socks import SOCKS_REPLIES
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy, Secret

# Of a user name and a password, beside a 407.
REFUSALS = (Reason.RELAY_SOCKS_LOGIN, Reason.RELAY_AUTH_WITHHELD)


class Asked(NamedTuple):
    """A relay proxy, and what it answered when it was asked for a tunnel to the target, without credentials."""

    proxy: RelayProxy
    target: Target
    answer: Probed

    @property
    def wants(self) -> bool:
        """Credentials."""
        return self.answer.status == 407 or self.answer.failure is Reason.RELAY_SOCKS_METHOD

    @property
    def speaks(self) -> bool:
        """It was reached, and answers as a proxy does."""
        answer = self.answer
        return answer.failure is None or answer.status is not None or self.wants or answer.failure in SOCKS_REPLIES

    @property
    def is_troubled(self) -> bool:
        """It opens no tunnel, and not for want of credentials."""
        return self.answer.failure is not None and not self.wants


class Verdict(NamedTuple):
    """opens  it opened a tunnel; `answer`: None where it was not tried"""

    opens: bool
    sentence: str
    answer: Optional[Probed] = None


def ask_all(config: Config) -> list[Asked]:
    """The relay proxies of these settings, asked at the same time."""
    proxies = config.ways.proxies
    targets = [target_for(config, number) for number in range(len(proxies))]
    asked = [(proxy, target) for proxy, target in zip(proxies, targets, strict=True)]
    answers = waited_for([partial(ask, config, proxy, target) for proxy, target in asked])
    return [Asked(*one, answer) for one, answer in zip(asked, answers, strict=True)]


def told(asked: Asked) -> str:
    """What it wants: a sentence."""
    if asked.answer.failure is None:
        return _("{proxy} opens a tunnel to {target} without credentials").format(
            proxy=asked.proxy, target=asked.target
        )
    if asked.answer.status == 407:
        if not asked.answer.offered:
            return _("{proxy} wants credentials, but offers no scheme to send them").format(proxy=asked.proxy)
        schemes = listed(asked.answer.offered)
        return _("{proxy} wants credentials, and offers {schemes}").format(proxy=asked.proxy, schemes=schemes)
    if asked.wants:
        return _("{proxy} wants a user name and a password").format(proxy=asked.proxy)
    # An address that the URL names need not be told twice.
    host = asked.proxy.target.host
    return asked.answer.detail.replace(f" cannot be reached: {host}: ", " cannot be reached: ")


def offered_by(all_asked: Sequence[Asked]) -> list[str]:
    """What all of them offer that want credentials over HTTP, in the order of the first."""
    wanting = [one.answer.offered for one in all_asked if one.answer.status == 407]
    first = wanting[0] if wanting else ()
    others = [{scheme.lower() for scheme in offered} for offered in wanting[1:]]
    return [scheme for scheme in first if all(scheme.lower() in there for there in others)]


def choice(all_asked: Sequence[Asked], has: Means) -> tuple[str, list[str]]:
    """A value of relay-proxy-auth, "" for none; and what there is to say of it."""
    if not any(one.answer.status == 407 for one in all_asked):
        unknown = has.has_domain and not all(one.speaks for one in all_asked)
        return "", [maybe_of_windows()] if unknown else []
    offered = offered_by(all_asked)
    auth = chosen(offered, has)
    if not auth:
        return "", [what_is_missing(offered, has)]
    if auth == "ntlm" and has.has_domain:
        return auth, [_("NTLM is used (relay-proxy-auth): the user name has a domain, as Windows has them")]
    said = _("{scheme} is used (relay-proxy-auth): the best scheme that is offered and for which there are credentials")
    return auth, [said.format(scheme=name_of(auth))]


def notes(auth: str, all_asked: Sequence[Asked]) -> list[str]:
    """What there is to know of a way of authenticating to these."""
    wanting = [one.proxy for one in all_asked if one.answer.status == 407]
    note = about(auth, all(proxy.encrypted for proxy in wanting)) if wanting else ""
    return [note] if note else []


def user_of(given: str, all_asked: Sequence[Asked]) -> str:
    """The user name; where only URLs have one, the first of these."""
    own = [one.proxy.credentials.user.reveal() for one in all_asked if one.proxy.credentials is not None]
    return given or (own[0] if own else "")


def try_all(config: Config, all_asked: Sequence[Asked]) -> list[Verdict]:
    """Try those that want credentials with what the settings have for them, one after the other: credentials that one
    of them refuses no other gets, since each refusal may count."""
    (verdicts,) = waited_for([partial(try_each, config, all_asked)])
    return verdicts


def try_each(config: Config, all_asked: Sequence[Asked]) -> list[Verdict]:
    """The same, in the loop."""
    verdicts: list[Verdict] = []
    refused = False
    for one in all_asked:
        own = one.proxy.credentials is not None
        if not one.wants:
            verdicts.append(Verdict(one.answer.failure is None, told(one)))
        elif refused and not own:
            what = _(
                "{proxy} was not tried: the credentials were refused already, and a few refusals may lock the account"
            )
            verdicts.append(Verdict(False, what.format(proxy=one.proxy)))
        else:
            answer = try_out(config, one.proxy, one.target)
            refused = refused or (is_refusal(answer) and not own)
            verdicts.append(_verdict(one, answer))
    return verdicts


def is_refusal(answer: Probed) -> bool:
    """Of a user name and a password, and no other trouble with them."""
    return answer.failure in REFUSALS or (answer.status == 407 and answer.failure is Reason.RELAY_REFUSED)


def _verdict(asked: Asked, answer: Probed) -> Verdict:
    if answer.failure is not None:
        return Verdict(False, answer.detail, answer)
    what = _("{proxy} opens a tunnel to {target}")
    if answer.scheme:
        what = _("{proxy} opens a tunnel to {target} ({scheme})")
    return Verdict(True, what.format(proxy=asked.proxy, target=asked.target, scheme=name_of(answer.scheme)), answer)


class Trial:
    """What commands that set relay proxies do with them.

    tries  False: nobody is asked
    told   what came of it, as JSON
    """

    def __init__(self, tries: bool) -> None:
        self._tries = tries
        self.told: dict[str, Any] = {}

    def use(self, editor: Editor, ini: str, wish: Wish) -> None:
        """Make the wish the file's, with the way of authenticating that fits if it names none. Raises EditError."""
        use(editor, ini, wish)  # so that what is wrong with it is known before anybody is asked
        if self._tries:
            self._settle(editor, _config(ini, wish), wish)
        elif Means(wish.user).has_domain and not wish.auth:
            editor.say(maybe_of_windows())

    def _settle(self, editor: Editor, config: Config, wish: Wish) -> None:
        all_asked = ask_all(config)
        said = [told(one) for one in all_asked if one.wants]
        auth = wish.auth
        if not auth:
            auth, why = choice(all_asked, means(user_of(wish.user, all_asked), wish.keytab or wish.tickets))
            said += why
            if auth and auth != AUTH.default:
                editor.set(AUTH, [auth])
        said += notes(auth, all_asked)
        verdicts = try_all(replace(config, relay_proxy_auth=auth or AUTH.default), all_asked)
        written = _("written although the trial failed: {error}")
        said += [one.sentence if one.opens else written.format(error=one.sentence) for one in verdicts]
        for sentence in said:
            editor.say(sentence)
        self.told["relay_proxies"] = [
            {"proxy": str(one.proxy), "offers": list(one.answer.offered), "opens": verdict.opens,
             "said": verdict.sentence}
            for one, verdict in zip(all_asked, verdicts, strict=True)
        ]  # fmt: skip


def _config(ini: str, wish: Wish) -> Config:
    """The settings of the file with the wish in them; where the file is wrong, the defaults."""
    try:
        base = load(["--config", ini if os.path.exists(ini) else os.devnull], os.environ)
    except ConfigError:
        base = load(["--config", os.devnull], {})
    password = wish.password or ""
    if wish.password_file:
        with suppress(OSError, ValueError):  # which the check of the file tells
            password = read_password(wish.password_file)
    assert URL.read is not None
    return replace(
        base,
        relay_proxy=tuple(URL.read(url) for url in wish.urls),
        relay_proxy_auth=wish.auth or AUTH.default,
        relay_proxy_username=Secret(wish.user),
        relay_proxy_password=Secret(password),
        relay_proxy_password_file="",
        relay_proxy_keytab=wish.keytab,
        relay_proxy_principal=Secret(wish.principal),
        relay_proxy_ticket_cache=wish.tickets,
    )
