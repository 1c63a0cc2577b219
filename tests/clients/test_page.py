"""docs/clients.md says which of its clients are tried, and that is so."""

import pathlib
import re

import pytest
from harness.pages import rows

# Its name in the tests, and what the page says of it.
ROWS = {re.search(r"([\w.]+?)(?:\.js)?\]", row[0])[1].lower(): row[3] for row in rows("clients.md", "The variables")}
TESTS = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_[dlps]*.py"))


@pytest.mark.parametrize("name", ROWS)
def test_each_client_is_tried_or_said_to_be_only_documented(name):
    tried = re.search(rf"^def test_(?:\w*_)?{name.replace('.', '_')}(?:_\w*)?\(|\"{name}\"", TESTS, re.MULTILINE)
    assert bool(tried) == (ROWS[name] != "only documented")
