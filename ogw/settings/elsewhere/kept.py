"""The last good copy of a URL's list as a gateway reads it at its start: checked anew, its signature and all."""

import time
from collections.abc import Collection
from typing import NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.policy.rules import Rule, time_text
from ogw.settings.elsewhere.copies import IN_FORCE, Copy, read_copy
from ogw.settings.elsewhere.host_list import BadList, read_list
from ogw.settings.elsewhere.record import Held, read_record
from ogw.settings.elsewhere.signature import (
    Distrusted,
    ListReason,
    Signature,
    name_of,
    read_signature,
    require_fitting,
    require_good,
    sha256_of,
)
from ogw.wire.url import shown_url


class BadCopy(ValueError):
    """There is a copy, but it cannot be used: a sentence says why."""


class DistrustedCopy(BadCopy):
    """The same of one whose signature is not what it is to be with the keys that are set just now.

    It stays where it is: with the right keys it is good again.
    """


class GoodCopy(NamedTuple):
    """
    signature  None where no key is set: then nobody looks at it
    """

    copy: Copy
    rules: tuple[Rule, ...]
    signature: Optional[Signature]


class Kept(NamedTuple):
    """What there is to tell of a list that is in force.

    rules    how many
    fetched  Unix seconds
    sha256   of the list
    serial, expires, key   of its signature (signature.py); -1, 0 and "" where no key is set
    """

    rules: int
    fetched: float
    sha256: str
    serial: int = -1
    expires: float = 0.0
    key: str = ""

    def is_overdue(self, now: float) -> bool:
        """Its signature has expired. It stays in force: whoever withholds the next list stops nothing by that."""
        return bool(self.key) and self.expires <= now


def told_of(good: GoodCopy) -> Kept:
    """Of a copy."""
    kept, signature = Kept(len(good.rules), good.copy.fetched, sha256_of(good.copy.body)), good.signature
    if signature is None:
        return kept
    return kept._replace(serial=signature.serial, expires=signature.expires, key=signature.key)


def read_good_copy(
    url: str, state_dir: str, max_size: int, keys: Collection[str], which: str = IN_FORCE, with_rules: bool = True
) -> Optional[GoodCopy]:
    """The copy of a URL's list, and what is in it; None where there is none. Raises BadCopy or OSError.

    Whatever is wrong with it: it is a file of our own making, and must not stop a gateway that could do without.
    An expired signature is no fault of a copy.

    keys        allowed-host-source-key: those that may have signed it; without any, nobody looks at signatures
    with_rules  else they are not read, which may take seconds
    """
    try:
        copy = read_copy(state_dir, url, max_size, which)
        if copy is None:
            return None
        signature = _signature_of(copy, url, keys) if keys else None
        return GoodCopy(copy, read_list(copy.body, shown_url(url), max_size) if with_rules else (), signature)
    except OSError:
        raise
    except Distrusted as error:
        raise DistrustedCopy(str(error)) from None
    except BadList as bad:
        raise BadCopy("; ".join(bad.mistakes)) from None
    except Exception as error:
        raise BadCopy(str(error) if isinstance(error, ValueError) else type(error).__name__) from error


def _signature_of(copy: Copy, url: str, keys: Collection[str]) -> Signature:
    """Raises Distrusted."""
    if not copy.signature:
        raise Distrusted(ListReason.MISSING, _("it was kept without a signature"))
    signature = read_signature(copy.signature.encode())
    require_good(signature, name_of(url) or "", keys)
    require_fitting(signature, copy.body)
    return signature


def read_url(
    url: str, state_dir: str, max_size: int, keys: Collection[str]
) -> tuple[tuple[Rule, ...], Optional[Kept], list[str]]:
    """The rules of the last good copy of a URL's list, what there is to tell of it, and sentences to warn with."""
    place = shown_url(url)
    try:
        good = read_good_copy(url, state_dir, max_size, keys)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
    except BadCopy as bad:
        why = str(bad)
    else:
        if good is not None:
            kept = told_of(good)
            told = [overdue(place, kept)] if kept.is_overdue(time.time()) else []
            held = read_record(state_dir, url).held
            return good.rules, kept, [*told, *([rolled_back(place, held)] if held is not None else [])]
        missing = _("allowed-host-source: {url}: there is no copy yet; the gateway fetches it")
        return (), None, [missing.format(url=place)]
    bad_copy = _("allowed-host-source: {url}: its copy cannot be used: {why}; the gateway fetches it anew")
    return (), None, [bad_copy.format(url=place, why=why)]


def overdue(place: str, kept: Kept) -> str:
    told = _(
        "allowed-host-source: {url}: its signature expired at {time}; the list stays in force, and its owner "
        "must sign it anew"
    )
    return told.format(url=place, time=time_text(int(kept.expires)))


def rolled_back(place: str, held: Held) -> str:
    told = _(
        "allowed-host-source: {url}: it was rolled back at {time} by {by}: the list before it is in force until "
        "another one comes"
    )
    return told.format(url=place, time=time_text(int(held.since)), by=held.by)
