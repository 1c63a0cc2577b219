"""What a page of docs/ shows, for tests that do what it says: indented blocks and tables, by their headings."""

import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).parent.parent.parent
_BLOCK = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)


def section(page, heading):
    """The text below a heading of docs/PAGE, up to the next one of any depth."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no heading {heading}"
    return found[1]


def blocks(page, heading):
    """The indented blocks below it, in their order, without the indentation."""
    found = _BLOCK.findall(section(page, heading) + "\n")
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found if block.strip()]


def rows(page, heading):
    """The rows of the table below it, without its head: lists of what stands in the cells."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
