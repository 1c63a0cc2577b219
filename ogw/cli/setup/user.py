"""The service's user: steps that make it, and let it read its configuration."""

import os
import pwd
from typing import Optional

from ogw.cli.edit.relay_wish import KEYTAB
from ogw.cli.setup.answers import Answers, named_file
from ogw.cli.setup.place import Place
from ogw.cli.setup.step import Step, by_commands
from ogw.language.messages import gettext as _
from ogw.language.phrases import every
from ogw.settings import password_file as kept
from ogw.settings.settings import Config
from ogw.settings.usual import DEFAULT_FILE

USER = kept.SERVICE_GROUP  # it has a group of its name


def making_user(place: Place) -> Step:
    words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell",
             "/usr/sbin/nologin", USER]  # fmt: skip
    return by_commands(place, _("make the service's user {user}").format(user=USER), has_user, [words])


def has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def letting_it_read(answers: Answers, place: Place, config: Optional[Config], writes: bool) -> list[Step]:
    """A service that cannot read its configuration would go on without it, and deny everything.

    config  what will be configured; None where that has a mistake
    writes  the INI file is written before
    """
    keytab = named_file(answers, place, KEYTAB.name)
    # A password's file that is not configured goes, or nobody needs it.
    keeps = config is None or os.path.basename(config.relay_proxy_password_file) == kept.NAME
    ours = ((place.password_file, keeps), (keytab, _is_ours(keytab, place)))
    files = [place.ini, *(path for path, is_needed in ours if is_needed)]
    inside = [path.removeprefix(place.root) for path in files if os.path.exists(path)]
    if writes and place.ini.removeprefix(place.root) not in inside:
        inside.insert(0, DEFAULT_FILE)
    if answers.password is not None and place.password_file.removeprefix(place.root) not in inside:
        inside.append(place.password_file.removeprefix(place.root))
    if not inside:
        return []

    def is_so() -> bool:
        return all(_reads(path) for path in inside if os.path.exists(path)) and os.path.exists(inside[0])

    def do() -> None:
        group = pwd.getpwnam(USER).pw_gid
        for path in inside:
            if os.path.exists(path) and not _reads(path):
                mode = os.stat(path).st_mode & 0o7777
                os.chown(path, -1, group)
                os.chmod(path, mode | 0o040)

    by_hand = (place.by_hand("chgrp", USER, *inside), place.by_hand("chmod", "g+r", *inside))
    name = _("let {user} read {files}").format(user=USER, files=every(inside))
    return [Step(name, is_so if not place.root else lambda: False, None if place.root else do, by_hand)]


def letting_it_read_keytab(answers: Answers, place: Place) -> list[Step]:
    """One that lies elsewhere may be for others, too, so who may read it is not decided here."""
    keytab = named_file(answers, place, KEYTAB.name)
    if not keytab or _is_ours(keytab, place):
        return []
    path = keytab.removeprefix(place.root)
    by_hand = (place.by_hand("chgrp", USER, path), place.by_hand("chmod", "g+r", path))
    name = _("let {user} read {files}").format(user=USER, files=path)
    return [Step(name, lambda: not place.root and os.path.exists(path) and _reads(path), None, by_hand)]


def _is_ours(path: str, place: Place) -> bool:
    return os.path.dirname(path) == os.path.dirname(place.ini)


def _reads(path: str) -> bool:
    status = os.stat(path)
    if status.st_mode & 0o004:
        return True
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return False
    return bool(
        (status.st_gid == entry.pw_gid and status.st_mode & 0o040)
        or (status.st_uid == entry.pw_uid and status.st_mode & 0o400)
    )
