"""Where lists of host rules are kept: files, folders of files, and https URLs, of which the last good copy is read.

Nothing here uses the network: the supervisor has the URLs downloaded (service/refresh.py).
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, shown
from ogw.policy.rules import Rule
from ogw.settings.elsewhere.host_list import MOST_RULES, BadList, read_list
from ogw.settings.elsewhere.signature import NAME
from ogw.settings.setting import one_a_line
from ogw.wire.connect import parse_host
from ogw.wire.place import in_brackets
from ogw.wire.url import SCHEME, shown_url

SUFFIXES = (".txt", ".json", "")  # of the files of a folder that are read
MOST = 1000  # files of a folder
MOST_MISTAKES = 100  # that are told of one

_HOST = re.compile(r"[^/.][^/]*[.:][^/]*/")  # what looks like a URL whose scheme is missing
_SEVERAL = re.compile(r",\s*https?://", re.IGNORECASE)
_PLAIN = re.compile(r"[!-~]+\Z")


def parse_source(text: str) -> str:
    """A path or an https URL, as it is; behind its # the name that a signature must hold. Raises ValueError."""
    if not text or "\0" in text:
        raise ValueError(_("it is neither a path nor an https URL"))
    if _SEVERAL.search(text):
        raise ValueError(_("it has a comma before a URL; in a URL itself, a comma is written %2C"))
    if not SCHEME.match(text):
        return text
    if not text.lower().startswith("https://"):
        raise ValueError(_("it is not https://; whoever can change the list on its way could allow any host"))
    try:
        parts = urlsplit(text)
        if not _PLAIN.match(text) or not parts.hostname or parts.port == 0:
            raise ValueError
        name = parts.hostname
        parse_host(in_brackets(name).encode())
    except ValueError:
        raise ValueError(_("it is not a URL such as https://lists.example.com/hosts.txt")) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(_("it has a user name or a password in it, which ogw does not send"))
    url, _mark, name = text.partition("#")
    return text if NAME.match(name) else url


def is_url(source: str) -> bool:
    return bool(SCHEME.match(source))


def files_of(path: str) -> list[str]:
    """A file itself, or the files of a folder that are lists: no hidden ones, so none of Kubernetes' own. OSError."""
    if not os.path.isdir(path):
        return [path]
    names = [
        name for name in sorted(os.listdir(path)) if not name.startswith(".") and os.path.splitext(name)[1] in SUFFIXES
    ]
    paths = [os.path.join(path, name) for name in names]
    found = [one for one in paths if not os.path.isdir(one)]
    if len(found) > MOST:
        raise OSError(errno.EMFILE, _("more than {most} files are in it").format(most=MOST), path)
    return found


def read_files(path: str, max_size: int) -> tuple[Rule, ...]:
    """The rules of a file, or of all files of a folder. Raises BadList."""
    rules: list[Rule] = []
    mistakes: list[str] = []
    try:
        paths = files_of(path)
    except OSError as error:
        raise BadList([f"allowed-host-source: {_shown(path)}: {error.strerror}"]) from None
    for one in paths:
        try:
            rules += read_list(read_file(one, max_size), _shown(one), max_size)
        except OSError as error:
            if one != path and not os.path.lexists(one):
                continue  # taken out of its folder in this moment
            told = f"allowed-host-source: {_shown(one)}: {error.strerror}"
            if _HOST.match(one):
                told = _("{mistake}; a list on a server is written https://lists.example.com/hosts.txt").format(
                    mistake=told
                )
            mistakes.append(one_a_line(told) if "," in one and not os.path.lexists(one) else told)
        except BadList as bad:
            mistakes += bad.mistakes
        if len(rules) > MOST_RULES:
            mistakes.append(
                _("allowed-host-source: {path}: more than {most} host rules").format(path=_shown(path), most=MOST_RULES)
            )
            break
        if len(mistakes) >= MOST_MISTAKES:
            mistakes.append(_("allowed-host-source: {path}: its other files are not read").format(path=_shown(path)))
            break
    if mistakes:
        raise BadList(mistakes)
    return tuple(rules)


def empty_files(path: str) -> list[str]:
    """Those among them without a single byte, as a full disk or an accident leaves them; no list is begun like that."""
    found = []
    with suppress(OSError):
        for one in files_of(path):
            with suppress(FileNotFoundError):
                found += [one] if os.stat(one).st_size == 0 and os.path.isfile(one) else []
    return found


def _shown(path: str) -> str:
    """A file or a folder in a message; it may be a URL that lacks its scheme."""
    return shown(shown_url(path))


def meant(sources: Iterable[str], asked: str) -> list[str]:
    """Which of them somebody means, who names one as it is set, as it is shown, or without what no server is told."""
    urls = [source for source in dict.fromkeys(sources) if is_url(source)]
    return [url for url in urls if url == asked] or [
        url for url in urls if asked in (shown_url(url), url.partition("?")[0].partition("#")[0], url.partition("#")[0])
    ]


def not_one(urls: Iterable[str], asked: str, meant: Sequence[str]) -> str:
    """Why it is not known which of these URLs somebody means, where that is none of them, or several."""
    known = ", ".join(map(shown_url, meant or urls))
    if not known:
        return _("no list is fetched from {asked}; none is fetched at all").format(asked=ascii(shown_url(asked)))
    if meant:
        return _("{asked} means several lists: {known}; name the whole URL").format(
            asked=ascii(shown_url(asked)), known=known
        )
    return _("no list is fetched from {asked}; there is {known}").format(asked=ascii(shown_url(asked)), known=known)
