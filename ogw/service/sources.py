"""How the lists of the settings' URLs stand: for whoever asks, for the metrics, and a line where one is overdue."""

import time
from collections.abc import Mapping
from typing import Any, Optional

from ogw.policy.rules import of_stage
from ogw.report.events import Event
from ogw.report.log import Log, timestamp
from ogw.report.metrics import (
    MOST_SOURCES,
    SOURCE_EXPIRES,
    SOURCE_FAILING,
    SOURCE_FETCHED,
    SOURCE_HELD,
    SOURCE_SERIAL,
    SOURCES,
)
from ogw.report.status import SourceStatus
from ogw.service.intake import Result
from ogw.settings.elsewhere.copies import BEFORE, IN_FORCE, place_of
from ogw.settings.elsewhere.gather import look
from ogw.settings.elsewhere.kept import Kept, overdue
from ogw.settings.elsewhere.record import Held, read_record
from ogw.settings.elsewhere.rollback import Lists
from ogw.settings.elsewhere.source import is_url
from ogw.settings.settings import Config
from ogw.wire.url import shown_url

LOOK_SECONDS = 60.0  # between looks at the clock, which somebody may set, for signatures that have expired
TELL_SECONDS = 3600.0  # between lines about one


class _Known:
    """Of one URL.

    kept   what is in force; None where nothing is
    held   what is rolled back
    """

    def __init__(self) -> None:
        self.kept: Optional[Kept] = None
        self.held: Optional[Held] = None
        self.failing = ""
        self.failing_since = 0.0  # Unix seconds
        self.offer: tuple[object, bool] = None, False  # what the files were like, and whether a rollback was possible
        self.tell_at = 0.0  # by the monotonic clock: that it is overdue


class Sources:
    """cells: of the gateway, where the metrics are."""

    def __init__(self, log: Log, cells: Any) -> None:
        self._log = log
        self._cells = cells
        self._known: dict[str, _Known] = {}
        self._next_look = 0.0

    def take(self, config: Config) -> None:
        """A configuration is in force, and with it what it read of copies."""
        self._config = config
        known, self._known = self._known, {}
        for url in filter(is_url, config.allowed_host_source):
            one = self._known[url] = known.get(url) or _Known()
            one.kept = _later(config.kept.get(url), one.kept)
            one.held = read_record(config.state_dir, url).held
        self._next_look = 0.0
        self._publish()

    def came(self, url: str, result: Result) -> bool:
        """Of a download; whether what is kept now is another list than the one in force, which a reload is to take."""
        one, kept = self._known[url], result.kept
        if result.why and not one.failing:
            one.failing_since = time.time()
        one.failing = result.why
        if kept is not None:
            one.held = read_record(self._config.state_dir, url).held  # another list may have ended it
        is_in_force = kept is not None and one.kept is not None and kept.sha256 == one.kept.sha256
        if is_in_force:
            one.kept = kept
            self._next_look = 0.0  # it may have been signed anew, for a shorter time
        self._publish()
        return kept is not None and not is_in_force

    def rows(self) -> list[SourceStatus]:
        """All that allowed-host-source names, in its order."""
        return rows_of(self._config, self._known)

    def next_time(self) -> Optional[float]:
        """When to look whether a signature has expired; None where there is none."""
        return self._next_look if any(one.kept and one.kept.key for one in self._known.values()) else None

    def work(self, now: float) -> None:
        """Tell of lists that are overdue, at once and then now and then."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        clock = time.time()
        for url, one in self._known.items():
            if one.kept is None or not one.kept.is_overdue(clock):
                one.tell_at = 0.0
            elif now >= one.tell_at:
                one.tell_at = now + TELL_SECONDS
                place = shown_url(url)
                self._log.event(Event.SOURCE_OVERDUE, overdue(place, one.kept), source=place, count=one.kept.rules)
        soon = [one.kept.expires - clock for one in self._known.values() if one.kept and one.kept.expires > clock]
        self._next_look = now + min([LOOK_SECONDS, *soon])

    def _publish(self) -> None:
        cells = self._cells
        cells[SOURCES] = len(self._known)
        for number, one in enumerate(list(self._known.values())[:MOST_SOURCES]):
            kept = one.kept
            cells[SOURCE_FETCHED + number] = int(kept.fetched) if kept is not None else 0
            cells[SOURCE_SERIAL + number] = max(0, kept.serial) if kept is not None else 0
            cells[SOURCE_EXPIRES + number] = max(0, int(kept.expires)) if kept is not None else 0
            cells[SOURCE_FAILING + number] = int(bool(one.failing))
            cells[SOURCE_HELD + number] = int(one.held is not None)


def _later(kept: Optional[Kept], before: Optional[Kept]) -> Optional[Kept]:
    """What was read of a copy; where it is the list of before, that may have been confirmed since it was fetched."""
    if kept is None or before is None or kept.sha256 != before.sha256:
        return kept
    return kept._replace(fetched=max(kept.fetched, before.fetched))


def rows_of(config: Config, known: Mapping[str, _Known]) -> list[SourceStatus]:
    """What there is to tell of each list that this configuration names.

    known  of a running gateway; without it, what stands in the files
    """
    found: list[SourceStatus] = []
    for source in dict.fromkeys(config.allowed_host_source):
        one = known.get(source) or _read(config, source)
        found.append(_row(config, source, one))
    return found


def _read(config: Config, source: str) -> _Known:
    one = _Known()
    if is_url(source):
        one.kept, one.held = config.kept.get(source), read_record(config.state_dir, source).held
    return one


def _row(config: Config, source: str, one: _Known) -> SourceStatus:
    kept, held, now = one.kept, one.held, time.time()
    given = next((given for given in config.given_by("allowed-host-source")[1] if given.value == source), None)
    is_there = kept is not None or not is_url(source)
    return {
        "source": shown_url(source),
        "rules": len(of_stage(given.rules, config.stage)) if given is not None and is_there else None,
        "fetched": timestamp(kept.fetched) if kept is not None else None,
        "age": round(max(0.0, now - kept.fetched), 1) if kept is not None else None,
        "serial": kept.serial if kept is not None and kept.key else None,
        "expires": timestamp(kept.expires) if kept is not None and kept.key else None,
        "overdue": kept is not None and kept.is_overdue(now),
        "key": kept.key if kept is not None and kept.key else None,
        "failing": one.failing,
        "failing_since": timestamp(one.failing_since) if one.failing else None,
        "rolled_back": timestamp(held.since) if held is not None else None,
        "by": held.by if held is not None else None,
        "can_roll_back": is_url(source) and held is None and _can_roll_back(config, source, one),
    }


def _can_roll_back(config: Config, url: str, one: _Known) -> bool:
    """By the files, where those are others than the last time: this is asked again and again."""
    places = (place_of(config.state_dir, url, which) for which in (IN_FORCE, BEFORE))
    files = (config.allowed_host_source_key, config.source_max_size, *map(look, places))
    if one.offer[0] != files:
        lists = Lists(config.state_dir, url, config.source_max_size, config.allowed_host_source_key, with_rules=False)
        one.offer = files, lists.can_roll_back()
    return one.offer[1]
