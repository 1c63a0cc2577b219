"""What commands show to people: rich on a terminal; elsewhere plain text, not cut to any width.

Texts that come from the gateway go through `clean` first: no client can write escape sequences into a terminal.
"""

import io
import os
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import Any, Optional, TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ogw.report.printable import printable

UNLIMITED = 10_000  # columns
INDENT = 4
GOOD, BAD, DIM, BOLD, WARN = "green", "red", "dim", "bold", "yellow"


def clean(value: Any) -> Any:
    """The same value with every character that is not for reading (escape sequences, direction marks) written out."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [clean(one) for one in value]
    if isinstance(value, dict):
        return {clean(name): clean(one) for name, one in value.items()}
    return value


def console_of(stream: Optional[TextIO] = None) -> Console:
    """A console on standard output; without colours where the terminal has none."""
    stream = sys.stdout if stream is None else stream
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal of few characters must not end the command
    more: dict[str, Any] = {"color_system": None} if not _has_colours() else {}
    return Console(file=stream, highlight=False, markup=False, emoji=False, **more)


def _has_colours() -> bool:
    """rich takes every TERM that it does not know for one of 16 colours; the terminal's own description knows."""
    if os.environ.get("COLORTERM"):
        return True
    try:
        import curses

        curses.setupterm()
        return curses.tigetnum("colors") >= 8
    except Exception:
        return True  # no description: rich decides


def show(*parts: RenderableType) -> None:
    """Print them below each other: on a terminal to fit its width; elsewhere without escape codes, of any width."""
    if sys.stdout is None:
        return
    console = console_of()
    if console.is_terminal:
        _print(console, parts)
    else:
        sys.stdout.write(plain(*parts))


def plain(*parts: RenderableType, width: int = UNLIMITED) -> str:
    """As text without escape codes and without blanks at the ends of lines."""
    text = io.StringIO()
    _print(Console(file=text, width=width, color_system=None, highlight=False, markup=False, emoji=False), parts)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _print(console: Console, parts: Sequence[RenderableType]) -> None:
    for part in parts:
        console.print(part, crop=False)


def whole(*pieces: str | tuple[str, str]) -> RenderableType:
    """A line that is never broken: where it is longer than the screen is wide, it can still be copied as one."""
    line = Text.assemble(*pieces)
    line.no_wrap, line.overflow = True, "ignore"
    return Group(line)  # of a text alone, rich would print a copy that is broken like any other


def indented(text: Text) -> Padding:
    """Below a heading; all its lines where it is long."""
    return Padding(text, (0, 0, 0, INDENT), expand=False)


def table(*columns: str, numbers: Sequence[int] = (), folds: Sequence[int] = ()) -> Table:
    """A table without lines; `numbers` are the columns to be aligned right, `folds` those that give way and wrap."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=BOLD, show_header=any(columns))
    for place, name in enumerate(columns):
        folded = place in folds
        made.add_column(
            Text(name),
            justify="right" if place in numbers else "left",
            no_wrap=not folded,
            overflow="fold" if folded else "ellipsis",
        )
    return made


def count(number: float) -> str:
    """1,234"""
    return f"{number:,}"


def size(octets: float) -> str:
    """1.5 MiB"""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def duration(seconds: float) -> str:
    """The two largest units: 2 h 13 min."""
    whole = int(seconds)
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    if whole < 86400:
        return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)
    return _("{days} d {hours} h").format(days=whole // 86400, hours=whole % 86400 // 3600)
