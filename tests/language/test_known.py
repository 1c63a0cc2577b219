"""Which language a locale, a browser or a setting means, and what can be shown where."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ogw.language.accepted import accepted
from ogw.language.known import ENGLISH, LANGUAGES, meant, shows


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("de", "de"),
        ("de_AT.UTF-8@euro", "de"),
        ("de-CH-1996", "de"),
        ("DE_de", "de"),
        ("en_GB.UTF-8", "en"),
        ("C", "en"),
        ("C.UTF-8", "en"),
        ("POSIX", "en"),
        ("pt", "pt_BR"),
        ("pt_BR.UTF-8", "pt_BR"),
        ("pt-AO", "pt_PT"),
        ("zh", "zh_CN"),
        ("zh_SG.GB2312", "zh_CN"),
        ("zh-Hant", "zh_TW"),
        ("zh-Hant-HK", "zh_TW"),
        ("zh_HK.UTF-8", "zh_TW"),
        ("zh-Hans-TW", "zh_CN"),
        ("sv_SE.UTF-8", ""),
        ("", ""),
        ("..@_-", ""),
    ],
)
def test_a_tag_means_the_nearest_language(tag, language):
    assert meant(tag) == language


@given(some.text(max_size=60))
def test_any_text_means_one_that_there_is_or_none(text):
    assert meant(text) in {*LANGUAGES, ""}


def test_each_language_means_itself():
    for name in LANGUAGES:
        assert meant(name) == meant(name.replace("_", "-")) == name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.3, ja", "ja"),
        ("sv, nb;q=0.9, fr;q=0.1", "fr"),
        ("en;q=0, de;q=0.5", "de"),
        ("de;q=0", ""),
        ("*", ""),
        ("", ""),
        ("de;q=x", ""),
        ("pt;q=0.7 , zh-TW ;q=0.8", "zh_TW"),
        ("x" * 100_000, ""),
        (",".join(["xx"] * 100_000) + ",de", ""),
    ],
)
def test_a_browser_gets_what_it_likes_best_of_those_that_there_are(header, language):
    assert accepted(header) == language


@given(some.text(some.sampled_from("de-zhTW;q=.,01 *"), max_size=80))
def test_any_header_asks_for_one_that_there_is_or_none(header):
    assert accepted(header) in {*LANGUAGES, ""}


def test_a_terminal_of_ascii_shows_english_alone_and_one_of_utf_8_all():
    assert [name for name in LANGUAGES if shows("ascii", name)] == [ENGLISH]
    assert all(shows("utf-8", name) for name in LANGUAGES)
    assert shows("iso8859-1", "de") and not shows("iso8859-1", "ru")
    assert not shows("there is no such", "de")
