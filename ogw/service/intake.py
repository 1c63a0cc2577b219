"""What came of a download: whether a list is taken, how it is kept, and what is told of it."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Optional

from ogw.policy.rules import Rule
from ogw.settings.elsewhere.admission import Verdict, after, judge, remembered
from ogw.settings.elsewhere.copies import HELD, Copy, place_of, write_copy
from ogw.settings.elsewhere.host_list import BadList, prove, read_list
from ogw.settings.elsewhere.kept import GoodCopy, Kept, told_of
from ogw.settings.elsewhere.record import Record, read_record, write_record
from ogw.settings.elsewhere.signature import Signature
from ogw.settings.settings import Config
from ogw.wire.url import shown_url

LONGEST_SENTENCE = 600


class Result(NamedTuple):
    """What came of it.

    why      what went wrong; "" for nothing
    changed  there is a new copy
    rules    how many the list has, or, where something went wrong, the last good copy; -1 where that is unknown
    added    and removed: beside the last good copy
    aside    why the last good copy could not be used, and where it is now; "" where it could be, or there was none
    reason   the token of a ListReason, where the list came and is not trusted
    kept     what there is to tell of the list that is in force now, which its server has just confirmed
    held     what the server has was rolled back: the list in force stays
    """

    why: str = ""
    changed: bool = False
    rules: int = 0
    added: int = 0
    removed: int = 0
    aside: str = ""
    reason: str = ""
    kept: Optional[Kept] = None
    held: bool = False

    def packed(self) -> bytes:
        return json.dumps(self._replace(why=self.why[:LONGEST_SENTENCE], aside=self.aside[:LONGEST_SENTENCE])).encode()


def unpacked(data: bytes) -> Optional[Result]:
    """None where it is not whole."""
    try:
        result = Result(*json.loads(data))
        return result._replace(kept=result.kept and Kept(*result.kept))
    except (ValueError, TypeError):
        return None


class DownloadFailed(Exception):
    """Nothing was taken; the sentence says why."""


class Fetched(NamedTuple):
    """What came: the list, None where it is the one of before; and its signature, None where none is asked for."""

    copy: Optional[Copy]
    signature: Optional[Signature]


def take(url: str, fetched: Fetched, config: Config, good: Optional[GoodCopy]) -> Result:
    """Keep what came, if it is a list and may be taken. Raises DownloadFailed or Distrusted."""
    copy, signature = fetched
    if copy is None:
        assert good is not None
        copy = good.copy
    keys, record = config.allowed_host_source_key, read_record(config.state_dir, url)
    verdict = judge(copy.body, signature, good, record, keys, time.time())
    if good is None and verdict is Verdict.HELD:
        raise DownloadFailed("its server has the list that was rolled back, and no other")
    if good is not None and verdict is not Verdict.TAKE:
        if verdict is Verdict.SAME and fetched.copy is not None:
            _keep(url, good.copy._replace(etag=copy.etag, modified=copy.modified, fetched=copy.fetched), config)
        elif verdict is Verdict.HELD:
            _remember(url, remembered(signature, record), config)
        fetched_at = good.copy.fetched if verdict is Verdict.HELD else time.time()
        kept = told_of(good)._replace(fetched=fetched_at)
        return Result(rules=kept.rules, kept=kept, held=verdict is Verdict.HELD)
    fresh = copy._replace(fetched=time.time(), signature=signature.text.decode() if signature is not None else "")
    return _replace(url, GoodCopy(fresh, _rules(fresh, url, config), signature), config, good, record)


def _rules(fresh: Copy, url: str, config: Config) -> tuple[Rule, ...]:
    place = shown_url(url)
    try:
        rules = read_list(fresh.body, place, config.source_max_size)
        prove(rules, place)
    except BadList as bad:
        raise DownloadFailed("; ".join(one.removeprefix(f"{place}: ") for one in bad.mistakes)) from None
    if not rules:
        raise DownloadFailed("the list has no host rule in it")
    return rules


def _replace(url: str, new: GoodCopy, config: Config, good: Optional[GoodCopy], record: Record) -> Result:
    """Keep it instead of the good copy, which is kept as the one before it."""
    changed = good is None or good.copy.body != new.copy.body
    now = after(new.copy.body, new.signature, good, record, config.allowed_host_source_key)
    # The record first: with the copy alone, an old list could come back that is younger than the one before it. But
    # not before the copy is on the disk: where that is full, what was rolled back stays held.
    _keep(url, new.copy, config, keeps_before=changed and good is not None, first=partial(_remember, url, now, config))
    if record.held is not None and now.held is None:
        with suppress(OSError):
            os.unlink(place_of(config.state_dir, url, HELD))
    were, are = Counter(map(str, () if good is None else good.rules)), Counter(map(str, new.rules))
    added, removed = (are - were).total(), (were - are).total()
    return Result("", changed, len(new.rules), added, removed, kept=told_of(new))


def _keep(
    url: str, copy: Copy, config: Config, keeps_before: bool = False, first: Callable[[], object] = lambda: None
) -> None:
    try:
        write_copy(config.state_dir, copy, keeps_before, first)
    except OSError as error:
        raise _cannot_keep(error, config) from None


def _remember(url: str, record: Record, config: Config) -> None:
    try:
        if record != read_record(config.state_dir, url):
            write_record(config.state_dir, url, record)
    except OSError as error:
        raise _cannot_keep(error, config) from None


def _cannot_keep(error: OSError, config: Config) -> DownloadFailed:
    return DownloadFailed(f"its copy cannot be kept: {error.filename or config.state_dir}: {error.strerror}")
