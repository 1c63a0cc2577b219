"""Every language says all that English says: nothing is missing or doubtful, and what is typed stays as it is."""

import re
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as some
from translating.catalogs import OTHERS, read
from translating.compiling import FOLDER
from translating.faults import faults
from translating.glossary import glossary, parsed
from translating.messages import ROOT, template

from ogw.language import conventions, messages

TERMS = {"gateway", "relay proxy", "allowed host", "client certificate", "tunnel", "host rule"}
LARGEST = 2 << 20  # bytes that the wheel may grow by


@pytest.fixture(scope="module")
def english():
    return template()


@pytest.mark.parametrize("language", OTHERS)
def test_all_is_translated_and_can_be_pasted_and_says_it_by_the_glossary(language, english):
    assert [*faults(read(language), english, glossary(language))] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_glossary_has_the_terms(language):
    assert glossary(language).terms.keys() >= TERMS


def test_the_french_words_are_those_of_the_originals_manual():
    terms = glossary("fr").terms
    assert "passerelle" in terms["gateway"] and "proxy de relais" in terms["relay proxy"]
    assert any(word.startswith("hôte") and "autoris" in word for word in terms["allowed host"])
    assert any(word.startswith("certificat") and "client" in word for word in terms["client certificate"])


def test_the_compiled_ones_fit_into_the_wheel(tmp_path):
    with zipfile.ZipFile(tmp_path / "wheel", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in FOLDER.glob("*.mo"):
            packed.write(path)
    assert 0 < (tmp_path / "wheel").stat().st_size < LARGEST


@pytest.mark.parametrize("language", OTHERS)
def test_the_first_page_is_there_with_the_same_commands_and_links(language):
    of_english, of_theirs = (ROOT / "docs" / name / "first-tunnel.md" for name in ("en", language))
    blocks, links = re.compile(r"^    .*$", re.MULTILINE), re.compile(r"\]\(([^)]+)\)")
    english, theirs = of_english.read_text(encoding="utf-8"), of_theirs.read_text(encoding="utf-8")
    told = [line.replace("language en", f"language {language}") for line in blocks.findall(english)]
    assert blocks.findall(theirs) == told
    assert links.findall(theirs) == links.findall(english)
    assert len(re.findall("^#+ ", theirs, re.MULTILINE)) == len(re.findall("^#+ ", english, re.MULTILINE))


# The judge itself.


def judged(text, translation, words="gateway = Gateway"):
    catalog, of_english = read("none"), read("none")
    of_english.add(text)
    catalog.add(text, translation)
    return [fault.partition(": ")[2] for fault in faults(catalog, of_english, parsed(words.splitlines()))]


@pytest.mark.parametrize(
    ("text", "translation", "why"),
    [
        ("a {name}", "ein {name}", ""),
        ("a {name}", "ein {nome}", "placeholders"),
        ("a {name}", "ein Name", "placeholders"),
        ("a {seconds:g} s", "{seconds} s", "placeholders"),
        ("needs %s", "braucht %d", "placeholders"),
        ("word", "", "not translated"),
        ("see `ogw check`", "siehe `ogw prüfen`", "ogw check"),
        ("see `ogw check`", "siehe `ogw check", "backticks"),
        ("name it: --run-dir FOLDER", "nennen: --run-Ordner FOLDER", "--run-dir"),
        ("relay-proxy-auth is set", "die Anmeldung ist gesetzt", "relay-proxy-auth"),
        ("see https://lists.example.com/hosts.txt", "siehe https://listen.example.com/hosts.txt", "https://"),
        ("put into /etc/ogw/ogw.ini", "in /etc/ogw", "/etc/ogw/ogw.ini"),
        ("OGW_CONFIG is empty", "OGW_KONFIG ist leer", "OGW_CONFIG"),
        ("what to do:", "was zu tun ist", "colon"),
        ("word", "Wort ", "blanks"),
        ("a\nb", "a b", "lines"),
        ("word", "W\u200bort", "seen"),
        ("the gateway ends", "der Zugang endet", "gateway"),
        ("the gateways end", "die Gateways enden", ""),
        ("`gateway` alone", "allein `gateway`", ""),
    ],
)
def test_what_no_reader_could_use_is_a_fault(text, translation, why):
    found = judged(text, translation)
    assert bool(found) == bool(why) and why in " ".join(found)


def test_a_doubtful_one_is_a_fault(english):
    catalog, of_english = read("none"), read("none")
    of_english.add("word")
    catalog.add("word", "Wort", flags=["fuzzy"])
    assert "fuzzy" in " ".join(faults(catalog, of_english, parsed([])))


def test_one_that_ogw_says_no_more_is_a_fault():
    catalog = read("none")
    catalog.add("word", "Wort")
    assert "no more" in " ".join(faults(catalog, read("none"), parsed([])))


def test_a_message_that_the_glossary_leaves_out_may_have_other_words():
    words = "gateway = Gateway\n! the gateway"
    assert judged("the gateway ends", "es endet", words) == [] != judged("a gateway ends", "es endet", words)


@pytest.mark.parametrize("line", ["gateway", "gateway =", "gateway = | ", "= Gateway"])
def test_a_line_of_a_glossary_that_cannot_be_read_is_told(line):
    with pytest.raises(ValueError):
        parsed([line])


# At work.


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_compiled_is_found_at_run_time(language):
    with messages.speaking(language):
        assert messages.gettext("What to do:") != "What to do:"
        assert messages.gettext("there is no such message") == "there is no such message"
        for number in (0, 1, 2, 5, 21):
            assert "{number}" in messages.ngettext("{number} allowed host", "{number} allowed hosts", number)
    assert messages.gettext("What to do:") == "What to do:"


@given(some.sampled_from(OTHERS), some.text(max_size=20))
def test_a_text_without_a_translation_stays_itself(language, text):
    with messages.speaking(language):
        assert messages.gettext(f"\0{text}") == f"\0{text}"


def test_a_catalog_that_was_not_compiled_is_english(monkeypatch, tmp_path):
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    messages._catalog.cache_clear()
    try:
        with messages.speaking("de"):
            assert messages.gettext("What to do:") == "What to do:"
            assert messages.language() == "en" and conventions.count(19536) == "19,536"
    finally:
        messages._catalog.cache_clear()
