"""The relay proxies of a set-up: they are asked what they want, the operator for that, and they are tried with it."""

import getpass
import sys
from collections.abc import Sequence

from ogw.cli.edit.relay_auth import means
from ogw.cli.edit.relay_trial import Asked, ask_all, choice, notes, offered_by, told, try_all, user_of
from ogw.cli.edit.relay_wish import AUTH, KEYTAB, PASSWORD, PRINCIPAL, TICKETS, USER
from ogw.cli.setup.answers import Answers, preview
from ogw.cli.setup.place import Place
from ogw.cli.setup.questions import agrees, ask_checked, mistake
from ogw.cli.setup.trial import config_of
from ogw.language.messages import gettext as _
from ogw.settings.ini.file import EditError
from ogw.settings.setting import Setting
from ogw.settings.value import meaning


def settle(answers: Answers, place: Place) -> bool:
    """Find out how the relay proxies are to know the gateway; whether to go on with them. Raises EOFError."""
    mistake(_("asking the relay proxy what it wants ..."))
    config = config_of(answers, place)
    all_asked = ask_all(config)
    for one in all_asked:
        mistake(told(one))
    if any(one.is_troubled for one in all_asked) and not agrees(_("Use the relay proxy nevertheless?"), False):
        return False
    unknown = any(one.wants or not one.speaks for one in all_asked)
    if unknown and not _has_credentials(answers, all_asked):
        _ask_credentials(answers, place, offered_by(all_asked))
    for sentence in _choose(answers, all_asked):
        mistake(sentence)
    return not any(one.wants for one in all_asked) or _try(answers, place, all_asked)


def settle_silently(answers: Answers, place: Place) -> None:
    """The same where nobody can be asked: what the command line says holds, and what came of it is printed."""
    config = config_of(answers, place)
    all_asked = ask_all(config)
    for one in all_asked:
        if one.wants:
            print(told(one))
    for sentence in _choose(answers, all_asked):
        print(sentence)
    for verdict in try_all(config_of(answers, place), all_asked):
        if verdict.opens:
            print(verdict.sentence)
        else:
            print(_("ogw: set up although the trial failed: {error}").format(error=verdict.sentence), file=sys.stderr)


def forget_credentials(answers: Answers) -> None:
    """Those of a relay proxy that is not meant any more."""
    answers.username, answers.password = "", None
    for setting in (AUTH, KEYTAB, PRINCIPAL):
        answers.values.pop(setting.name, None)


def _has_credentials(answers: Answers, all_asked: Sequence[Asked]) -> bool:
    return bool(answers.username or _kerberos(answers)) or all(one.proxy.credentials for one in all_asked)


def _one(answers: Answers, name: str) -> str:
    return (answers.values.get(name) or [""])[0]


def _kerberos(answers: Answers) -> str:
    """A keytab, or the name of a ticket cache; "" for none."""
    return _one(answers, KEYTAB.name) or _one(answers, TICKETS.name)


def _choose(answers: Answers, all_asked: Sequence[Asked]) -> list[str]:
    """Take the best way, unless the command line names one; what there is to say of it."""
    auth = _one(answers, AUTH.name)
    said: list[str] = []
    if not auth:
        auth, said = choice(all_asked, means(user_of(answers.username, all_asked), _kerberos(answers)))
        if auth and auth != AUTH.default:
            answers.values[AUTH.name] = [auth]
    return [*said, *notes(auth, all_asked)]


def _ask_credentials(answers: Answers, place: Place, offered: Sequence[str]) -> None:
    there = {scheme.lower() for scheme in offered}
    if "negotiate" in there and _ask_keytab(answers, place):
        return
    question = _("User name for the relay proxy, or Enter for none")
    if "ntlm" in there:
        question = _("User name for the relay proxy (DOMAIN\\NAME for NTLM), or Enter for none")
    answers.username = ask_checked(question, "", lambda text: meaning(USER, text))
    while answers.username:
        try:
            prompt = _("Password for the relay proxy (not shown):")
            answers.password = getpass.getpass(f"{prompt} ")
            meaning(PASSWORD, answers.password)
            return
        except UnicodeDecodeError:
            mistake(_("the terminal's locale does not have all of these characters; --password-stdin takes them"))
        except EditError as error:
            mistake(str(error))


def _ask_keytab(answers: Answers, place: Place) -> bool:
    """Whether there is one."""

    def check(text: str) -> None:
        _take_kerberos(answers, place, KEYTAB, text)

    def check_principal(text: str) -> None:
        _take_kerberos(answers, place, PRINCIPAL, text)

    try:
        keytab = ask_checked(_("Keytab for Kerberos, or Enter for a user name and a password"), "", check)
        if keytab:
            ask_checked(_("Principal in the keytab, or Enter for the first one"), "", check_principal)
    finally:
        answers.values.pop(AUTH.name, None)  # which is chosen as everywhere
    return bool(keytab)


def _take_kerberos(answers: Answers, place: Place, setting: Setting, text: str) -> None:
    """Take what was typed for a setting, if it does; "": nothing. Raises EditError."""
    answers.values.pop(setting.name, None)
    answers.values.pop(AUTH.name, None)
    if text:
        answers.values |= {setting.name: [text], AUTH.name: ["negotiate"]}
        preview(answers, place)


def _try(answers: Answers, place: Place, all_asked: Sequence[Asked]) -> bool:
    """Try those that want credentials; whether to go on with them."""
    mistake(_("trying the relay proxy ..."))
    verdicts = try_all(config_of(answers, place), all_asked)
    tried = [verdict for one, verdict in zip(all_asked, verdicts, strict=True) if one.wants]
    for verdict in tried:
        mistake(verdict.sentence)
    return all(verdict.opens for verdict in tried) or agrees(_("Use the relay proxy nevertheless?"), False)
