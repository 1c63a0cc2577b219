"""A list is rolled back: the last good one but one is in force again, until another comes than the one of now.

Files alone are changed here, in steps of which each leaves a gateway with a list. A gateway that runs takes them with a
reload, and its downloads ask the record (record.py) what is not to be taken again.
"""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.policy.rules import time_text
from ogw.settings.elsewhere.copies import BEFORE, HELD, IN_FORCE, also_as, place_of, set_aside
from ogw.settings.elsewhere.kept import BadCopy, GoodCopy, Kept, read_good_copy, told_of
from ogw.settings.elsewhere.record import Held, read_record, write_record
from ogw.settings.elsewhere.signature import sha256_of
from ogw.wire.url import shown_url


class CannotRollBack(Exception):
    """Nothing was changed; a sentence says why."""


class Lists:
    """Those that are kept of a URL.

    keys        allowed-host-source-key: what they did not sign comes back by no rollback either
    with_rules  else the rules of a list are not read, which may take seconds
    """

    def __init__(self, state_dir: str, url: str, max_size: int, keys: Collection[str], with_rules: bool = True) -> None:
        self._state_dir, self._url, self._max_size, self._keys = state_dir, url, max_size, keys
        self._with_rules = with_rules
        self._shown = shown_url(url)

    def can_roll_back(self) -> bool:
        """Whether a rollback would bring a list back."""
        try:
            self._now_and_before()
        except (CannotRollBack, OSError):
            return False
        return True

    def roll_back(self, by: str) -> Kept:
        """What is in force now. Raises CannotRollBack, or OSError.

        Where nothing can be used of what was in force, nothing is held back, either: its server may send it again.
        """
        now, before = self._now_and_before()
        if now is None:
            self._set_aside()
        else:
            record = read_record(self._state_dir, self._url)
            held = Held(sha256_of(now.copy.body), time.time(), by)
            write_record(self._state_dir, self._url, record._replace(held=held))
            also_as(self._place(IN_FORCE), self._place(HELD))
        os.rename(self._place(BEFORE), self._place(IN_FORCE))
        return told_of(before)

    def undo(self) -> Kept:
        """What was rolled back is in force again. Raises CannotRollBack, or OSError."""
        record = read_record(self._state_dir, self._url)
        if record.held is None:
            raise self._cannot(_("it is not rolled back"))
        held = self._read(HELD, _("the list that was rolled back is not there any more"))
        if self._in_force()[0] is None:
            self._set_aside()
        else:
            also_as(self._place(IN_FORCE), self._place(BEFORE))
        os.rename(self._place(HELD), self._place(IN_FORCE))
        write_record(self._state_dir, self._url, record._replace(held=None))
        return told_of(held)

    def _now_and_before(self) -> tuple[Optional[GoodCopy], GoodCopy]:
        """What is in force, None where that cannot be used; and what a rollback brings back."""
        now, why = self._in_force()
        if now is None:
            return None, self._read(BEFORE, why)
        held = read_record(self._state_dir, self._url).held
        if held is not None and held.sha256 != sha256_of(now.copy.body):
            told = _("it was rolled back at {time} by {by} already; of the lists before that none is kept")
            raise self._cannot(told.format(time=time_text(int(held.since)), by=held.by))
        none = _("no list before the one of now is kept")
        before = self._read(BEFORE, none)
        if before.copy.body == now.copy.body:  # a download that was to replace it was cut short
            raise self._cannot(none)
        return now, before

    def _in_force(self) -> tuple[Optional[GoodCopy], str]:
        """Where it is None, the other is why."""
        try:
            now = self._copy(IN_FORCE)
        except BadCopy as bad:
            return None, _("the list in force cannot be used: {why}").format(why=bad)
        return now, "" if now is not None else _("there is no list of it yet")

    def _set_aside(self) -> None:
        """What cannot be used, so that it is in nobody's way."""
        with suppress(FileNotFoundError):
            set_aside(self._state_dir, self._url)

    def _read(self, which: str, missing: str) -> GoodCopy:
        try:
            found = self._copy(which)
        except BadCopy as bad:
            told = {
                BEFORE: _("the list before it cannot be used: {why}"),
                HELD: _("the list that was rolled back cannot be used: {why}"),
            }
            raise self._cannot(told[which].format(why=bad)) from None
        if found is None:
            raise self._cannot(missing)
        return found

    def _copy(self, which: str) -> Optional[GoodCopy]:
        return read_good_copy(self._url, self._state_dir, self._max_size, self._keys, which, self._with_rules)

    def _place(self, which: str) -> str:
        return place_of(self._state_dir, self._url, which)

    def _cannot(self, why: str) -> CannotRollBack:
        return CannotRollBack(f"{self._shown}: {why}")
