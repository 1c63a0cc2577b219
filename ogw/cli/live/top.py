"""`ogw top`: the running gateway live, a frame each interval."""

import argparse
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from rich.console import Console, RenderableType
from rich.live import Live

from ogw.cli import streams
from ogw.cli.exits import INTERRUPTED, NO_GATEWAY, OK
from ogw.cli.live.gateway import Gateway, gateway_of
from ogw.cli.live.rates import COUNTERS, Rates, Sample, rates, was_restarted
from ogw.cli.live.sockets import NoGateway, add_gateway
from ogw.cli.live.top_screen import screen
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import UNLIMITED, clean, console_of, plain
from ogw.language.messages import gettext as _

LEAST, MOST = 0.1, 3600.0  # seconds between two frames
ANSWER_SECONDS = 5.0  # keys wait for so long, at most


def parser() -> Parser:
    made = parser_of(
        "top",
        _(
            "Show the running gateway live: rates, the clients and hosts with most tunnels, the workers, the latest "
            "refusals. q or Ctrl-C leaves. Where standard output is no terminal, the frames follow each other as text."
        ),
        examples=["ogw top", "ogw top --interval 5", "ogw top --count 2 | tail -n +20"],
        codes={
            OK: _("left with q, or after --count frames"),
            NO_GATEWAY: _("no gateway answers at the start; one that ends later is waited for"),
            INTERRUPTED: _("left with Ctrl-C"),
        },
    )
    add_gateway(made)
    made.add_argument(
        "--interval", metavar="SECONDS", type=_interval, default=1.0, help=_("the time between two frames (default: 1)")
    )
    made.add_argument("--count", metavar="NUMBER", type=_count, help=_("leave after this number of frames"))
    return made


def run(asked: argparse.Namespace) -> int:
    watch = Watch(gateway_of(asked))
    watch.look()
    if watch.latest is None:
        raise watch.trouble or NoGateway
    console = console_of()
    if console.is_terminal and not console.is_dumb_terminal:
        _live(watch, console, asked.interval, asked.count)
    else:
        _frames(watch, console, asked.interval, asked.count)
    return OK


class Watch:
    """What is known of the gateway: its latest answer, what happened since the one before, and what is wrong.

    latest     None until there was one
    trouble    why there was no answer the last time; None while there is one
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._restarted = ""
        self._rates: Rates = dict.fromkeys(COUNTERS, 0.0)
        self.latest: Optional[Sample] = None
        self.trouble: Optional[NoGateway] = None

    def look(self) -> None:
        """Ask once."""
        try:
            status = self._gateway.status(ANSWER_SECONDS)
        except NoGateway as trouble:
            self.trouble = trouble
            self._rates = dict.fromkeys(COUNTERS, 0.0)
            return
        before, self.latest, self.trouble = self.latest, Sample(clean(status), time.monotonic()), None
        if before is not None:
            self._rates = rates(before, self.latest)
            if was_restarted(before, self.latest):
                self._restarted = _("restarted at {time}").format(time=(self.latest.status["started"] or "")[11:19])

    def screen(self, width: int, height: Optional[int]) -> RenderableType:
        """What to draw; there has been an answer."""
        assert self.latest is not None
        note = _("the gateway does not answer; waiting") if self.trouble is not None else self._restarted
        return screen(self.latest.status, self._rates, note, width, height)


def _frames(watch: Watch, console: Console, interval: float, most: Optional[int]) -> None:
    """Below each other, for a file, a pipe or a terminal that cannot draw."""
    drawn = 0
    width = console.width if console.is_terminal else UNLIMITED
    while True:
        if drawn:
            time.sleep(interval)
            watch.look()
        print(("\n" if drawn else "") + plain(watch.screen(width, None), width=width), end="", flush=True)
        drawn += 1
        if drawn == most or streams.lost is not None:
            return


def _live(watch: Watch, console: Console, interval: float, most: Optional[int]) -> None:
    """On a screen of its own."""
    drawn = 0

    def picture() -> RenderableType:
        return watch.screen(console.width, console.height)

    keys = Keys()
    live = Live(picture(), console=console, screen=True, auto_refresh=False)
    try:
        with _uninterrupted():
            keys.take()
            live.start(refresh=True)
        while True:
            drawn += 1
            if drawn == most or streams.lost is not None:
                return
            until = time.monotonic() + interval
            while (left := until - time.monotonic()) > 0:
                pressed = keys.wait(left)
                if pressed in ("q", "Q"):
                    return
                if pressed == Keys.RESIZED:
                    live.update(picture(), refresh=True)
            watch.look()
            live.update(picture(), refresh=True)
    finally:
        with _uninterrupted():
            live.stop()
            keys.give_back()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of it: a terminal that was half taken could not be given back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Keys:
    """The keyboard, key by key and without an echo, and the terminal's size, from `take` to `give_back`."""

    RESIZED = "resized"

    def __init__(self) -> None:
        self._keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
        self._before: Any = None
        self._woken, self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def take(self) -> None:
        signal.signal(signal.SIGWINCH, lambda number, frame: self._wake())
        signal.signal(signal.SIGCONT, lambda number, frame: self._resume())
        # A terminal that goes away, or a service manager, must find the screen as it was.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        if self._keyboard >= 0:
            self._before = termios.tcgetattr(self._keyboard)
        self._resume()

    def _resume(self) -> None:
        if self._keyboard >= 0:
            tty.setcbreak(self._keyboard)
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wakes, b"w")
        except BlockingIOError:
            pass  # it is told already

    def give_back(self) -> None:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        if self._before is not None:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)
        os.close(self._woken)
        os.close(self._wakes)

    def wait(self, seconds: float) -> str:
        """The key that was pressed, RESIZED, or "" when the time is up."""
        listened = [self._woken, *([self._keyboard] if self._keyboard >= 0 else [])]
        ready, _writable, _failed = select.select(listened, [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 4096)
            return self.RESIZED
        if not ready:
            return ""
        pressed = os.read(self._keyboard, 64)
        if not pressed:
            self._keyboard = -1  # its end
        return pressed[:1].decode("ascii", "replace")


# Words of the command line.


def _interval(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not LEAST <= seconds <= MOST:
        told = _("{text} is no number of seconds from {least:g} to {most:g}")
        raise argparse.ArgumentTypeError(told.format(text=ascii(text), least=LEAST, most=MOST))
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(_("{text} is no number from 1 on").format(text=ascii(text)))
    return int(text)
