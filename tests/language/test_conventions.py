"""Numbers, times and lists as the readers of each language write them."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ogw.language.conventions import count, date, decimal, moment
from ogw.language.known import LANGUAGES
from ogw.language.messages import speaking
from ogw.language.phrases import either, every

TIME = datetime(2026, 1, 9, 14, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "number", "small", "day"),
    [
        ("en", "1,234,567", "0.5", "2026-01-09"),
        ("de", "1.234.567", "0,5", "09.01.2026"),
        ("fr", "1\u202f234\u202f567", "0,5", "09/01/2026"),
        ("ru", "1\xa0234\xa0567", "0,5", "09.01.2026"),
        ("ja", "1,234,567", "0.5", "2026/01/09"),
        ("nl", "1.234.567", "0,5", "09-01-2026"),
    ],
)
def test_numbers_and_days(language, number, small, day):
    with speaking(language):
        assert (count(1234567), decimal(0.5), date(TIME)) == (number, small, day)
        assert moment(TIME) == f"{day} 14:05:06 UTC"
        assert moment(TIME.astimezone(timezone(timedelta(hours=9)))) == f"{day} 14:05:06 UTC"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_own_with_all_that_belongs_to_it(language):
    with speaking(language):
        assert count(0) == "0" and count(999) == "999" and decimal(2.25, 2)[0] == "2"
        assert re.findall("[0-9]+", date(TIME)) in (["2026", "01", "09"], ["09", "01", "2026"])
        assert "{" not in date(TIME)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_list_names_all(language):
    with speaking(language):
        for listed in (either, every):
            assert listed([]) == "" and listed(["a"]) == "a"
            told = listed(["x1", "x2", "x3"])
            assert told.index("x1") < told.index("x2") < told.index("x3")


def test_lists_in_english():
    assert [either("ab"), either("abc"), every("ab"), every("abc")] == [
        "a or b",
        "a, b, or c",
        "a and b",
        "a, b, and c",
    ]
