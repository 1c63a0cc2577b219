"""What commands show to people: rich on a terminal; elsewhere plain text, not cut to any width.

Texts that come from the gateway go through `clean` first: no client can write escape sequences into a terminal.
"""

import io
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Optional, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ogw.language import conventions
from ogw.language.conventions import count, decimal
from ogw.language.known import ENGLISH
from ogw.language.messages import gettext as _
from ogw.language.messages import language
from ogw.report.printable import readable

UNLIMITED = 10_000  # columns
INDENT = 4
GAP = 2  # columns of the screen between those of a table
GOOD, BAD, DIM, BOLD, WARN = "green", "red", "dim", "bold", "yellow"


def clean(value: Any) -> Any:
    """The same value with every character that is not for reading (escape sequences, direction marks) written out."""
    if isinstance(value, str):
        return readable(value)
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


class _Table(Table):
    """Has no blanks behind its last column. Debian's rich (13) counts them all the same, and cuts what is left over."""

    def _get_padding_width(self, column_index: int) -> int:
        return GAP * (column_index < len(self.columns) - 1)


class _Folding(_Table):
    """Has no word on two lines, be it an address with its port."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sizes = [self._size(console, options, place) for place in range(len(self.columns))]
        widths = [size.maximum for size in sizes]
        room = options.max_width - GAP * (len(widths) - 1)
        while sum(widths) > room:
            wide = [place for place, size in enumerate(sizes) if widths[place] > size.minimum]
            if not wide:
                yield from self._below_each_other(options.max_width)
                return
            widths[max(wide, key=widths.__getitem__)] -= 1
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _size(self, console: Console, options: ConsoleOptions, place: int) -> Measurement:
        """Of a column: as wide as its longest word, and as its longest text."""
        column = self.columns[place]
        found = [Measurement.get(console, options, one) for one in (column.header, *column.cells)]
        most = max(one.maximum for one in found)
        least = max(one.minimum for one in found) if column.overflow == "fold" else most
        return Measurement(min(most, max(least, column.min_width or 0)), most)

    def _below_each_other(self, width: int) -> RenderResult:
        names = [str(column.header) for column in self.columns]
        for number, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if number and self.show_header:
                yield Text()
            for name, cell in zip(names, row, strict=True):
                text = Text.assemble((f"{name}: " if name else "", DIM), cell)
                if any(len(word) > width - INDENT for word in text.plain.split()):
                    text.no_wrap, text.overflow = True, "ignore"  # the terminal breaks it, and copies it as one
                yield text if cell is row[0] or text.no_wrap else indented(text)


def table(*columns: str, numbers: Sequence[int] = (), folds: Sequence[int] = ()) -> Table:
    """A table without lines; `numbers` are the columns to be aligned right, `folds` those that give way and wrap.

    They wrap between words. Where even that does not fit, each row is shown as lines below each other.
    """
    made = (_Folding if folds else _Table)(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=BOLD, show_header=any(columns)
    )
    for place, name in enumerate(columns):
        folded = place in folds
        made.add_column(
            Text(name),
            justify="right" if place in numbers else "left",
            no_wrap=not folded,
            overflow="fold" if folded else "ellipsis",
        )
    return made


def size(octets: float) -> str:
    """1.5 MiB"""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            return f"{count(value) if unit == 'B' or value >= 100 else decimal(value)} {unit}"
        value /= 1024
    raise AssertionError


def moment(text: str) -> str:
    """A time that the gateway answered with, to the second; in other languages as they are written there."""
    if language() == ENGLISH:
        return f"{text[:19]}Z"
    try:
        return conventions.moment(datetime.fromisoformat(text))
    except ValueError:
        return text


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
