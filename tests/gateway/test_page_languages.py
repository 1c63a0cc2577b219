"""The page in each language: as the browser asks for it, or by the switch, and narrow enough for a phone."""

import http.client
import json
import re

import pytest
from harness.admin import ask
from harness.browser import browser, complaints, look
from harness.gateway import Gateway, address
from harness.waiting import PATIENCE

from ogw.language.known import LANGUAGES
from ogw.language.messages import gettext, speaking

PHONES, HEIGHT = (320, 360), 740


@pytest.fixture(scope="module")
def gateway():
    host = address()
    flags = "--admin-page", "yes", "--admin-address", f"{host}:9180", "--language", "es"
    flags += "--relay-proxy", f"http://{address()}:3128"
    with Gateway("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8", *flags) as gateway:
        for name in ("first.example", "second.example"):
            sock, _head = gateway.ask(f"{name}:443")
            sock.close()
        gateway.admin_host = host
        yield gateway


def said(language, text):
    with speaking(language):
        return gettext(text)


def page(gateway, path="/", **headers):
    connection = http.client.HTTPConnection(gateway.admin_host, 9180, timeout=20 * PATIENCE)
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def spoken_in(text):
    return re.search('<html lang="([^"]+)"', text)[1].replace("-", "_")


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_speaks_what_the_browser_asks_for(gateway, language):
    _answer, text = page(gateway, Accept_Language=f"sv;q=0.9, {language.replace('_', '-')};q=0.8, en;q=0.1")
    assert spoken_in(text) == language
    assert said(language, "Latest refusals") in text and said(language, "Workers") in text


def test_the_switch_beats_the_browser_and_leads_to_every_other_language(gateway):
    _answer, text = page(gateway, "/?language=ja", Accept_Language="de")
    assert spoken_in(text) == "ja"
    links = re.findall(r'<a href="\?language=(\w+)"', text)
    assert links == [name for name in LANGUAGES if name != "ja"]
    for link in links:
        assert spoken_in(page(gateway, f"/?language={link}")[1]) == link


@pytest.mark.parametrize("asked", ["", "sv", "*", "klingon;q=1", "de;q=0"])
def test_who_asks_for_none_that_there_is_gets_that_of_the_settings(gateway, asked):
    assert spoken_in(page(gateway, Accept_Language=asked)[1]) == "es"
    assert spoken_in(page(gateway, "/?language=klingon")[1]) == "es"


def test_what_needs_attention_is_told_in_the_page_s_language_and_to_programs_in_english(gateway):
    text = "Taken out by ogw ready --off at {time}: readiness says no. {command} takes it back."
    assert ask(gateway, "/take-out?by=test", "POST")[0] == 200
    try:
        for path, headers, language in (
            ("/status?language=de", {}, "de"), ("/status", {"Accept_Language": "de"}, "en"), ("/status", {}, "en"),
        ):  # fmt: skip
            (told,) = json.loads(page(gateway, path, **headers)[1])["attention"]
            before, between, _behind = re.split(r"\{\w+\}", said(language, text))
            assert told.startswith(before) and between in told
        assert said("ja", text).partition("{time}")[2].partition("{command}")[0] in page(gateway, "/?language=ja")[1]
    finally:
        ask(gateway, "/take-back", "POST")


@pytest.fixture(scope="module")
def chrome():
    with browser() as chrome:
        yield chrome


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", PHONES)
def test_a_phone_has_nothing_to_scroll_sideways_and_the_script_says_the_same(chrome, gateway, language, width):
    look(chrome, width, HEIGHT, touch=True)
    chrome.get(f"http://{gateway.admin_host}:9180/?language={language}")
    shown = "return document.documentElement.classList.contains('live')"
    assert chrome.execute_script(shown)
    script = "return [document.documentElement.scrollWidth, innerWidth, visualViewport.width]"
    assert chrome.execute_script(script) == [width] * 3
    text = chrome.execute_script("return document.body.innerText")
    assert said(language, "Latest refusals").casefold() in text.casefold()
    assert "undefined" not in text and not re.search(r"\{\w+\}", text)
    assert complaints(chrome) == []
