"""Bars for a page: SVG, made by hand."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, NAMES, VALUES = 720, 130, 90  # pixels: of all, of the names in front of the bars, of the values behind them
BAR, GAP, HEAD = 18, 5, 34
OURS, OTHERS = "#1f6feb", "#9aa4b2"


class Panel(NamedTuple):
    """Bars of one figure; the first is ours. A value that is not there is None."""

    title: str
    bars: Sequence[tuple[str, float | None]]


def plot(panels: Sequence[Panel], note: str) -> str:
    """The panels below each other, each with a scale of its own from nought; `note` stands below them."""
    parts, top = [], 10
    for panel in panels:
        parts.append(_text(10, top + 14, panel.title, "b"))
        parts += _bars(panel, top + 24)
        top += HEAD + len(panel.bars) * (BAR + GAP) + 8
    parts.append(_text(10, top + 10, note, "n"))
    style = "text{font:13px sans-serif;fill:#24292f}.b{font-weight:bold}.n{font-size:11px;fill:#57606a}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 24}" width="{WIDTH}" height="{top + 24}">'
        f'\n<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bars(panel: Panel, top: int) -> list[str]:
    most = max((value for _name, value in panel.bars if value is not None), default=0.0) or 1.0
    parts = []
    for place, (name, value) in enumerate(panel.bars):
        y = top + place * (BAR + GAP)
        parts.append(_text(10, y + 14, name))
        wide = (WIDTH - NAMES - VALUES) * (value or 0.0) / most
        colour = OTHERS if place else OURS
        parts.append(f'<rect x="{NAMES}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        parts.append(_text(round(NAMES + wide + 6), y + 14, "-" if value is None else rounded(value)))
    return parts


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'


def rounded(value: float) -> str:
    """Three figures, which is more than any measurement here holds."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
