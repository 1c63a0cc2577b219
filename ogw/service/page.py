"""The page: one HTML file with its styles and script inside; without the script it is a table of the state now."""

import html
import json
import pathlib
from string import Template
from typing import Any

PAGE = Template((pathlib.Path(__file__).parent / "page.html").read_text(encoding="utf-8"))


def rendered(status: dict[str, Any]) -> str:
    """The page for this state of the gateway (service/views.py)."""
    return PAGE.substitute(status=html.escape(json.dumps(status)))
