"""What people type for yes and for no."""

import pytest

from ogw.cli.agreement import agreed
from ogw.language.messages import speaking


@pytest.mark.parametrize(
    ("language", "said", "meant"),
    [
        ("en", "y", True),
        ("en", " YES ", True),
        ("en", "n", False),
        ("en", "", None),
        ("en", "ja", None),
        ("de", "J", True),
        ("de", "yes", True),
        ("de", "nein", False),
        ("es", "sí", True),
        ("es", "si", True),
        ("ru", "Да", True),
        ("zh_CN", "是", True),
    ],
)
def test_yes_and_no_in_the_readers_language_and_in_english(language, said, meant):
    with speaking(language):
        assert agreed(said) is meant
