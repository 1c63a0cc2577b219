"""Keeps the lists from elsewhere fresh: downloads them in short-lived children, and watches files, the INI file too.

It lives in the supervisor: no hub, no thread. A download says its result through a pipe and ends; one that hangs is
killed. What changed is taken over by a reload.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from ogw.report.events import Event
from ogw.report.log import Log, timestamp
from ogw.service.child import Aside
from ogw.service.download import download
from ogw.service.intake import Result, unpacked
from ogw.service.sources import Sources
from ogw.settings.elsewhere import gather
from ogw.settings.elsewhere.kept import Kept
from ogw.settings.elsewhere.rollback import CannotRollBack, Lists
from ogw.settings.elsewhere.source import is_url, meant, not_one
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.usual import DEFAULT_FILE
from ogw.tunnel.tried import Tried
from ogw.wire.url import shown_url

LOOK_SECONDS = 1.0  # between looks at the files; a change is taken when it has stood still for one
KILL_SECONDS = 2.0  # what a download has to end by itself, after source-timeout,
READ_SECONDS = 5.0  # and for each MiB of source-max-size: it reads the list, and tries all that is made of it
FIRST_RETRY = 10.0  # after a failure; it doubles up to source-refresh
TELL_SECONDS = 3600.0  # between lines about a list that cannot be reached
MOST_SAID = 1 << 16  # bytes that a download says
JITTER = 0.1  # of source-refresh: many gateways must not ask at the same moment

# What a download is made with, by how the names of these settings begin: with other values it is made anew.
_MADE_WITH = ("allowed_host_source_key", "source_", "state_dir", "stage", "dns_", "dial_timeout", "relay_proxy")
MADE_WITH = tuple(one.attribute for one in SETTINGS.values() if one.attribute.startswith(_MADE_WITH))

StartAside = Callable[[str, Callable[[int], None]], Aside]


class _Running(NamedTuple):
    child: Aside
    until: float


class _Source:
    """One URL: when it is asked next, and how often that has failed."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.running: Optional[_Running] = None
        self.again = False  # to be asked once more when what is running has ended: it may have asked too early
        self.failures = 0
        self.untold = 0
        self.told_at = 0.0
        self.reason = ""  # of the last failure, where the list came and is not trusted

    def next_time(self) -> float:
        return self.running.until if self.running is not None else self.due

    def ask_now(self) -> None:
        self.due, self.again = time.monotonic(), self.running is not None


class Refresh:
    """Ask it for `next_time`, and call `work` then and whenever a child ended.

    aside    starts a child: (name, what it does with the writing end of a pipe). Raises OSError
    cells    of the gateway
    tried    what became of credentials for relay proxies, where somebody remembers that
    sources  how the lists stand
    """

    def __init__(self, config: Config, log: Log, aside: StartAside, cells: Any, tried: Optional[Tried] = None) -> None:
        self._log = log
        self._aside = aside
        self._tried = tried
        self._sources: dict[str, _Source] = {}
        self._next_look = 0.0
        self.sources = Sources(log, cells)
        self._config = config
        self.take(config)

    def take(self, config: Config) -> None:
        """A configuration is in force: files are as they were when it was read.

        URLs that are new, or have no list in force now, are due at once, and all of them where it asks in another way.
        """
        now = time.monotonic()
        before, self._config = self._config, config
        urls = [source for source in config.allowed_host_source if is_url(source)]
        for url in self._sources.keys() - set(urls):
            self._kill(self._sources.pop(url))
        differs = any(getattr(before, name) != getattr(config, name) for name in MADE_WITH)
        for url in urls:
            source = self._sources.setdefault(url, _Source(now))
            if differs:
                self._kill(source)  # it may be about to keep what is not to be taken any more
            if differs or _is_missed(source, before.kept.get(url), config.kept.get(url)):
                source.ask_now()
        self.sources.take(config)
        self._taken = self._seen = config.seen
        self._next_look = now + LOOK_SECONDS
        if config.agent_missing:
            self._log.event(Event.AGENT_NOT_FOUND, f"agent-config gives no hosts: {config.agent_missing}")

    def ask_now(self) -> None:
        """Somebody wants everything fresh."""
        for source in self._sources.values():
            source.ask_now()

    def next_time(self) -> Optional[float]:
        """When there is something to do; None for never."""
        times = [source.next_time() for source in self._sources.values()]
        if self._watches:
            times.append(self._next_look)
        if (look := self.sources.next_time()) is not None:
            times.append(look)
        return min(times, default=None)

    @property
    def _watches(self) -> bool:
        """Files are read, or would be if they were there."""
        config = self._config
        lists = any(not is_url(one) for one in config.allowed_host_source)
        of_tls = any(getattr(config, name) for name in gather.OF_TLS)
        return bool(lists or config.agent_config or config.presets_folder or of_tls or self._own)

    @property
    def _own(self) -> list[str]:
        """The INI file, where it is watched."""
        return [self._config.file or DEFAULT_FILE] if self._config.reload_on_change == "yes" else []

    def work(self, now: float, reloads: bool = False) -> bool:
        """Start what is due, end what hangs, hear what ended; whether a reload would find something new.

        reloads  one is running: it takes what was kept before it began
        """
        changed = False
        self.sources.work(now)
        for url, source in self._sources.items():
            if source.running is not None:
                result = self._collect(source.running, now)
                if result is not None:
                    source.running = None
                    is_another = self._take_result(url, source, result, now)
                    changed |= is_another and (result.changed or not reloads)
                    if source.again:
                        source.due, source.again = now, False
            if source.running is None and now >= source.due:
                self._start(url, source, now)
        return changed | self._look(now)

    def stop(self) -> None:
        for source in self._sources.values():
            self._kill(source)
        self._sources.clear()

    # Downloads.

    def _start(self, url: str, source: _Source, now: float) -> None:
        config = self._config
        try:
            child = self._aside("download", lambda out: _say(out, download(url, config, self._tried)))
        except (OSError, MemoryError) as error:  # no process or no descriptor is to be had
            why = error.strerror if isinstance(error, OSError) else "there is no memory"
            self._take_result(url, source, Result(f"the download cannot be started: {why}", rules=-1), now)
            return
        reads = READ_SECONDS * config.source_max_size / (1 << 20)
        source.running = _Running(child, now + config.source_timeout + KILL_SECONDS + reads)

    def _collect(self, running: _Running, now: float) -> Optional[Result]:
        """What a download says, once it has ended; it is ended here where it hangs."""
        if running.child.is_over:
            said = unpacked(running.child.read_result(MOST_SAID))
            return said or Result("the download failed: it ended without a result", rules=-1)
        if now < running.until:
            return None
        running.child.kill()
        return Result("the download failed: it hung, and was killed", rules=-1)

    def _take_result(self, url: str, source: _Source, result: Result, now: float) -> bool:
        """Whether another list is kept than the one in force."""
        refresh, shown = self._config.source_refresh, shown_url(url)
        is_another = self.sources.came(url, result)
        if result.aside:
            self._log.event(Event.SOURCE_UNREACHABLE, f"{shown}: {result.aside}", source=shown, count=1)
        if result.why:
            is_new = source.failures == 0 or source.reason != result.reason
            source.reason = result.reason
            source.failures += 1
            source.untold += 1
            source.due = now + min(refresh, FIRST_RETRY * 2 ** min(source.failures - 1, 20))
            if is_new or now >= source.told_at + TELL_SECONDS:
                often = f" ({source.untold} times since the last line)" if source.failures > 1 else ""
                kept = "the last good list stays in force" if result.rules else "there is no good list of it yet"
                message = f"{shown}: {result.why}{often}; {kept}"
                event = Event.SOURCE_REFUSED if result.reason else Event.SOURCE_UNREACHABLE
                self._log.event(event, message, result.reason, source=shown, count=source.untold)
                source.untold, source.told_at = 0, now
            return False
        again = source.failures > 0
        source.failures = source.untold = 0
        source.due = now + refresh * random.uniform(1 - JITTER, 1)
        change = f"{result.added} added, {result.removed} removed" if result.changed else "nothing changed"
        if result.held:
            change = "what its server has was rolled back here, and is not taken"
        self._log.event(
            Event.SOURCE_REFRESHED,
            f"{shown}: {result.rules} host rule{'' if result.rules == 1 else 's'}; {change}",
            level=logging.INFO if result.changed or again else logging.DEBUG,
            source=shown,
            count=result.rules,
            rules_added=result.added,
            rules_removed=result.removed,
        )
        return is_another

    def _kill(self, source: _Source) -> None:
        if source.running is not None:
            source.running.child.kill()
            source.running, source.again = None, False

    # Rollbacks.

    def roll_back(self, asked: str, undo: bool, by: str) -> str:
        """Change the files of a URL's list, which a reload takes; "" or why that could not be.

        asked  the URL, as it is set or shown
        """
        urls = meant(self._sources, asked)
        if len(urls) != 1:
            return not_one(self._sources, asked, urls)
        (url,), config = urls, self._config
        self._kill(self._sources[url])  # what it brings may be what is rolled back
        lists = Lists(config.state_dir, url, config.source_max_size, config.allowed_host_source_key)
        try:
            kept = lists.undo() if undo else lists.roll_back(by)
        except CannotRollBack as cannot:
            return str(cannot)
        except OSError as error:
            return f"{error.filename or config.state_dir}: {error.strerror}"
        what = (
            "the rollback is undone: the next reload, which begins now, takes what was rolled back"
            if undo
            else "the next reload, which begins now, takes the list before it"
        )
        told = f"{shown_url(url)}: {what}, which was fetched at {timestamp(kept.fetched)}"
        self._log.event(Event.SOURCE_ROLLED_BACK, told, source=shown_url(url), count=kept.rules, by=by)
        return ""

    # Files.

    def _look(self, now: float) -> bool:
        """Whether files differ from those that are in force, and have stood still since the last look."""
        if not self._watches or now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        before, self._seen = self._seen, (*map(gather.look, self._own), *gather.seen(vars(self._config)))
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen  # what is broken is not read again before it changes again
        return True


def _is_missed(source: _Source, before: Optional[Kept], kept: Optional[Kept]) -> bool:
    """Nothing of it is in force any more, or it could not be had, and this reload may have mended why.

    Not so one that came a moment ago and cannot be read: asking, reloading and asking again would never end.
    """
    return kept is None and (before is not None or source.failures > 0)


def _say(out: int, result: Result) -> None:
    with open(out, "wb") as pipe:
        pipe.write(result.packed())
