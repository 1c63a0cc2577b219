"""Lines of a terminal: how wide a text is there, and where it may be broken.

Most lines break between words, which may be flags, hosts or places. Chinese and Japanese have no blanks between words:
there a line may break before and behind any of their characters, but for marks that must not stand at its begin or end.
"""

import re
import textwrap
import unicodedata

# Ideographs, kana and full-width marks; Korean has blanks.
_FREE = r"\u2e80-\u312f\u31a0-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
# Closing marks, and small kana; opening marks. Those of ASCII have a meaning of their own in a class.
_NOT_FIRST = r"、。，．：；！？）」』】》〉”’…ーァィゥェォッャュョヮヵヶぁぃぅぇぉっゃゅょゎ々)\],.:;!?"
_NOT_LAST = r"（「『【《〈“‘(\["
_BLANK = " \t\n"  # a no-break space is none
_PIECE = re.compile(
    rf"[{_BLANK}]*(?:[{_NOT_LAST}]*(?:[{_FREE}]|[^{_BLANK}{_FREE}]+)[{_NOT_FIRST}]*|[{_NOT_LAST}{_NOT_FIRST}]+)"
)


def cells(text: str) -> int:
    """Columns that it takes; some characters take two, and some none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def filled_up(text: str, width: int) -> str:
    """With blanks behind it, to so many columns."""
    return text + " " * (width - cells(text))


def wrap(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Lines of at most so many columns, where that can be: a word that is longer is not broken.

    first, later  what the first line begins with, and all others
    """
    if text.isascii():
        return textwrap.wrap(
            text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
        )
    lines, line, begin = [], first, first
    for piece in _PIECE.findall(text):
        if line != begin and cells(line) + cells(piece) > width:
            lines.append(line)
            line = begin = later
        line += piece.lstrip(_BLANK) if line == begin else re.sub(rf"^[{_BLANK}]+", " ", piece)
    return [*lines, line] if line != begin else lines
