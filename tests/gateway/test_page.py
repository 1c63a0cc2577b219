"""The page in a real browser: it shows what happens, lives through a restart, and is for every screen and reader."""

import json
import re
import socket
import time
import urllib.request

import pytest
from harness.admin import ask, asked
from harness.browser import block_scripts, browser, complaints, look
from harness.gateway import Gateway, absent_address, address, read_all
from harness.relays import PORT, playing
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def chrome():
    with browser() as chrome:
        yield chrome


@pytest.fixture(autouse=True)
def plain(request):
    """Each test begins with scripts, a desktop, the light theme, and a console that has said nothing."""
    chrome = request.getfixturevalue("chrome")
    block_scripts(chrome, False)
    look(chrome)
    chrome.get("about:blank")
    complaints(chrome)


def started(*flags, listen=None, host=None, tls_rules="off"):
    host = host or address()
    more = ("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8", "--admin-page", "yes")
    gateway = Gateway(*more, "--admin-address", f"{host}:9180", *flags, listen=listen, tls_rules=tls_rules)
    gateway.page = f"http://{host}:9180/"
    return gateway


@pytest.fixture(scope="module")
def gateway():
    with started() as gateway:
        yield gateway


def page_until(chrome, condition, seconds=20):
    return WebDriverWait(chrome, seconds * PATIENCE, 0.05).until(lambda _chrome: condition())


def text(chrome, selector):
    return chrome.find_element(By.CSS_SELECTOR, selector).text


def shows(chrome, selector, part):
    page_until(chrome, lambda: part in text(chrome, selector))


def refuse(gateway, target):
    gateway.ask(target)[0].close()


def test_an_absent_address_and_that_it_was_taken_out_are_told_without_loading_it_again(chrome):
    absent = absent_address()
    with started("--listen-address", absent, "--listen-freebind", "yes") as gateway:
        chrome.get(gateway.page)
        shows(chrome, "#state", f"{absent}:8080 (this machine does not have that address now)")
        assert not chrome.find_element(By.ID, "attention").is_displayed()
        asked(gateway, "/take-out", "POST")
        shows(chrome, "#attention", "Taken out by ogw ready --off at ")
        assert f"{absent}:8080 (this machine" in text(chrome, "#state")
        asked(gateway, "/take-back", "POST")
        page_until(chrome, lambda: not chrome.find_element(By.ID, "attention").is_displayed())


def test_how_a_relay_proxy_fares_is_told_as_it_changes(chrome):
    said = [b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"]
    with Server(lambda connection: playing(said[0])(connection), port=PORT) as relay:
        flags = "--relay-proxy", f"http://{relay.host}:{PORT}", "--allowed-host", "www.bench.example"
        with started(*flags) as gateway:
            chrome.get(gateway.page)
            shows(chrome, "#state", "0 of 1 relay proxies up, 1 never tried")
            refuse(gateway, "www.bench.example:443")
            shows(chrome, '[data-t="relays"]', "refuses us it answers 407 (Proxy Authentication Required), ")
            page_until(chrome, lambda: text(chrome, "#state").endswith("0 of 1 relay proxies up"))
            said[0] = b"HTTP/1.1 200 OK\r\n\r\n"
            gateway.tunnel("www.bench.example:443").close()
            shows(chrome, "#state", "1 of 1 relay proxies up")
            shows(chrome, '[data-t="relays"] .works', "up")
            assert complaints(chrome) == []


def test_a_tunnel_and_a_refusal_appear_by_themselves(chrome, gateway, upstream):
    chrome.get(gateway.page)
    shows(chrome, "#state", "Serving on")
    before = int(text(chrome, '[data-v="tunnels"]'))
    with gateway.tunnel(upstream.target) as sock:
        page_until(chrome, lambda: int(text(chrome, '[data-v="tunnels"]')) == before + 1)
        shows(chrome, '[data-t="hosts"]', upstream.target)
        sock.sendall(bytes(3 << 20))
        received = 0
        while received < 3 << 20:
            received += len(sock.recv(1 << 20))
        shows(chrome, '[data-v="bytes_total"]', "3.0 MiB up, 3.0 MiB down")
    page_until(chrome, lambda: int(text(chrome, '[data-v="tunnels"]')) == before)
    refuse(gateway, "just-now.example:443")
    shows(chrome, '[data-t="refusals"] tr:first-child', "just-now.example:443")
    row = text(chrome, '[data-t="refusals"] tr:first-child')
    assert "host-not-allowed" in row and "OGW-105" in row and (" s ago" in row or "just now" in row)
    assert f"ogw allowed-host add just-now.example --run-dir {gateway.run_dir} --reload" in row
    shows(chrome, '[data-t="reasons"]', "host-not-allowed")
    for plot in ("tunnels", "opened", "bytes", "refused"):
        drawing = chrome.find_element(By.CSS_SELECTOR, f'[data-plot="{plot}"] svg')
        assert drawing.get_attribute("role") == "img" and ": now " in drawing.get_attribute("aria-label")
        assert drawing.find_element(By.CSS_SELECTOR, "path:not(.under)").get_attribute("d").count("L") >= 2
    assert complaints(chrome) == []


def test_a_command_is_copied_from_the_keyboard_and_focus_stays_while_rows_move(chrome, gateway):
    refuse(gateway, "copied.example:443")
    chrome.get(gateway.page)
    command = f"ogw allowed-host add copied.example --run-dir {gateway.run_dir} --reload"
    button = f'[aria-label="Copy the command: {command}"]'
    page_until(chrome, lambda: chrome.find_elements(By.CSS_SELECTOR, button))
    focus = f"return document.activeElement === document.querySelector({json.dumps(button)})"
    for _press in range(30):
        chrome.switch_to.active_element.send_keys(Keys.TAB)
        if chrome.execute_script(focus):
            break
    assert chrome.execute_script(focus)
    refuse(gateway, "other.example:443")
    shows(chrome, '[data-t="refusals"] tr:first-child', "other.example:443")
    refuse(gateway, "copied.example:443")
    shows(chrome, '[data-t="refusals"] tr:first-child', "2 times")
    assert chrome.execute_script(focus)
    chrome.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    page_until(chrome, lambda: chrome.execute_script("return document.getElementById('said').textContent") == "Copied")
    chrome.execute_script(
        "const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus()"
    )
    chrome.find_element(By.ID, "pasted").send_keys(Keys.CONTROL, "v")
    pasted = chrome.find_element(By.ID, "pasted").get_attribute("value")
    assert pasted == command
    assert complaints(chrome) == []


def test_the_page_lives_through_a_restart(chrome, upstream):
    host = address()
    with started(host=host) as first:
        chrome.get(first.page)
        for _turn in range(3):
            refuse(first, "old.example:443")
        shows(chrome, '[data-v="refused_total"]', "3 since")
        first.stop()
        shows(chrome, "#state", "Not reachable, trying again")
        assert "Not reachable" in chrome.title
    with started(host=host, listen=first.address) as second, second.tunnel(upstream.target):
        shows(chrome, "#state", "Serving on")
        shows(chrome, '[data-v="refused_total"]', "0 since")
        shows(chrome, '[data-v="tunnels"]', "1")
        assert "old.example" not in text(chrome, "main")
        plot = chrome.find_element(By.CSS_SELECTOR, '[data-plot="refused"] svg').get_attribute("aria-label")
        assert plot.endswith(": now 0.0 a minute; at most 0.0 a minute")
    # That it was not reachable is all that the console may have said.
    assert all("ERR_CONNECTION_REFUSED" in entry for entry in complaints(chrome))


def test_what_the_policy_only_reports_is_not_shown_as_refused(chrome, upstream):
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    host = address()
    flags = ("--policy-mode", "report", "--report-until", tomorrow, "--allowed-target-network", "127.0.0.0/8")
    with Gateway(*flags, "--admin-address", f"{host}:9180", "--admin-page", "yes") as gateway:
        chrome.get(f"http://{host}:9180/")
        shows(chrome, "#attention", "policy-mode = report until")
        gateway.tunnel(upstream.target).close()
        shows(chrome, '[data-t="refusals"]', upstream.target)
        assert "let pass, only reported" in text(chrome, '[data-t="refusals"]')
        assert complaints(chrome) == []


def test_with_scripts_blocked_the_same_stands_in_tables(chrome, upstream):
    with started() as gateway, gateway.tunnel(upstream.target):
        refuse(gateway, "tables.example:443")
        chrome.get(gateway.page)
        shows(chrome, '[data-t="hosts"]', upstream.target)
        tables = ("refusals", "open", "relays", "reasons", "clients", "hosts")
        live = {name: told(chrome, name) for name in tables}
        block_scripts(chrome)
        chrome.get(gateway.page)
        assert "It does not change by itself" in text(chrome, "#still")
        assert not chrome.find_element(By.ID, "pause").is_displayed()
        assert {name: told(chrome, name) for name in tables} == live
        assert "tables.example:443" in live["refusals"] and upstream.target in live["hosts"]
        assert text(chrome, '[data-v="tunnels"]') == "1"
        assert complaints(chrome) == []


def told(chrome, table):
    """A table's text, without ages and buttons."""
    rows = chrome.find_element(By.CSS_SELECTOR, f'[data-t="{table}"]').text.splitlines()
    ages = ("Copy", "just now")
    return "\n".join(re.sub(r" \d+ s ", " ", row) for row in rows if row not in ages and not row.endswith(" ago"))


def test_what_strangers_say_is_text_wherever_it_comes(chrome, gateway):
    for evil in ("<img/src=x/onerror=document.title=1>:443", "</script><b>x:443", "<svg/onload=alert(1)>"):
        refuse(gateway, evil)
    chrome.get(gateway.page)
    shows(chrome, '[data-t="refusals"]', "<svg/onload=alert(1)>")
    for evil in ("<i>while-it-is-open:443", "<img/src=x/onerror=document.title=1>:443"):
        refuse(gateway, evil)
        shows(chrome, '[data-t="refusals"]', evil)
    assert chrome.find_elements(By.CSS_SELECTOR, "img, i, main script, svg[onload]") == []
    assert complaints(chrome) == []
    for script in ("setAttribute('onclick', 'alert(1)')", "innerHTML = '<b>'"):
        with pytest.raises(JavascriptException, match=r"requires 'Trusted(Script|HTML)' assignment"):
            chrome.execute_script(f"document.createElement('b').{script}")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_has_nothing_to_scroll_sideways(chrome, gateway, width):
    refuse(gateway, f"{'a-long-name-' * 5}x.{'b' * 60}.{'c' * 60}.example:443")
    look(chrome, width, 844, touch=True)
    chrome.get(gateway.page)
    shows(chrome, '[data-t="refusals"]', "a-long-name")
    script = "return [document.documentElement.scrollWidth, innerWidth, visualViewport.width]"
    assert chrome.execute_script(script) == [width] * 3


def test_each_theme_has_its_colours_and_enough_contrast(chrome, gateway):
    refuse(gateway, "colours.example:443")
    backs = set()
    for theme in ("light", "dark"):
        look(chrome, theme=theme)
        chrome.get(gateway.page)
        shows(chrome, '[data-t="refusals"]', "colours.example")
        backs.add(chrome.execute_script("return getComputedStyle(document.documentElement).backgroundColor"))
        assert chrome.execute_script(CONTRAST) == []
    assert len(backs) == 2


# Texts whose contrast with what is behind them is less than 4.5 to 1 (WCAG 2.2, 1.4.3).
CONTRAST = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = numbers(colour).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor, alpha = numbers(colour)[3];
    if (alpha === undefined || alpha === 1) return colour;
  }
  return "rgb(255, 255, 255)";
};
const weak = [];
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.getClientRects().length || node.closest("script")) continue;
  const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) weak.push(node.textContent);
}
return weak;
"""


def test_a_screen_reader_finds_landmarks_headings_and_names(chrome, gateway):
    chrome.get(gateway.page)
    shows(chrome, "#state", "Serving")
    nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    roles = [role for role, _name in found]
    assert roles.count("main") == roles.count("banner") == roles.count("contentinfo") == 1
    assert ("heading", "Latest refusals") in found and ("region", "Latest refusals") in found
    assert ("table", "Latest refusals") in found and ("table", "Clients with most tunnels") in found
    assert ("status", "") in found
    pictures = [name for role, name in found if role == "image" or role == "img"]
    assert len(pictures) == 4 and all(": now " in name for name in pictures)
    assert all(name for role, name in found if role in ("button", "link", "table", "heading"))


def test_pause_stops_the_polls_and_goes_on(chrome, gateway, upstream):
    chrome.get(gateway.page)
    shows(chrome, "#state", "Serving")
    pause = chrome.find_element(By.ID, "pause")
    assert pause.text == "Pause"
    pause.click()
    shows(chrome, "#state", "Paused the data shown here is of ")
    assert pause.text == "Paused: go on" and chrome.title.startswith("Paused ")
    assert not chrome.find_element(By.ID, "filtered").is_enabled()
    before = text(chrome, '[data-v="opened_total"]')
    gateway.tunnel(upstream.target).close()
    page_until(chrome, lambda: counted(gateway) != before.split()[0])
    asked = "return performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/status')).length"
    polls, end = chrome.execute_script(asked), time.monotonic() + 3
    page_until(chrome, lambda: time.monotonic() > end)
    assert chrome.execute_script(asked) - polls <= 1 and text(chrome, '[data-v="opened_total"]') == before
    assert text(chrome, "#state").startswith("Paused")
    pause.click()
    shows(chrome, '[data-v="opened_total"]', counted(gateway))
    assert text(chrome, "#state").startswith("Serving on") and pause.text == "Pause"
    assert chrome.find_element(By.ID, "filtered").is_enabled()


def test_a_refused_reload_stands_on_the_page_until_one_is_taken(chrome, tmp_path):
    file = tmp_path / "gw.ini"
    file.write_text("[ogw]\n")
    with started("--config", str(file)) as gateway:
        chrome.get(gateway.page)
        shows(chrome, "header", f"ogw {socket.gethostname()}")
        assert chrome.title.endswith(f"ogw {socket.gethostname()}")
        file.write_text("[ogw]\nallowed-host = <i>x</i>\n")
        ask(gateway, "/reload", "POST")
        shows(chrome, "#attention", "The last reload was refused at ")
        assert f"{file}:2: " in text(chrome, "#attention") and "<i>" in text(chrome, "#attention")
        assert chrome.find_elements(By.CSS_SELECTOR, "i") == []
        file.write_text("[ogw]\nidle-timeout = 5m\n")
        ask(gateway, "/reload", "POST")
        page_until(chrome, lambda: not chrome.find_element(By.ID, "attention").is_displayed())
        assert complaints(chrome) == []


def test_open_tunnels_are_listed_and_filtered(chrome, upstream):
    with Server(echo, host=address()) as other, started() as gateway:
        sock = gateway.tunnel(upstream.target)
        chrome.get(gateway.page)
        shows(chrome, '[data-t="open"]', upstream.target)
        with gateway.tunnel(other.target) as second:
            client = "{}:{}".format(*second.getsockname())
            shows(chrome, "#open-of", "2 of 2, the longest open first")
            filtered = chrome.find_element(By.ID, "filtered")
            for part in (other.host, client, client.upper(), id_of(gateway, client)):
                filtered.clear()
                filtered.send_keys(part)
                shows(chrome, "#open-of", "1 of 1")
                row = text(chrome, '[data-t="open"]')
                assert other.target in row and client in row and upstream.target not in row
            filtered.clear()
            filtered.send_keys("<b>nobody</b>&most=0")
            shows(chrome, '[data-none="open"]', "No open tunnel matches.")
            filtered.send_keys(Keys.CONTROL, "a")
            filtered.send_keys(Keys.DELETE)
            shows(chrome, "#open-of", "2 of 2")
        shows(chrome, "#open-of", "1 of 1")
        sock.close()
        shows(chrome, '[data-none="open"]', "No tunnel is open.")
        assert complaints(chrome) == []


def id_of(gateway, client):
    (one,) = [one for one in asked(gateway, "/tunnels")["tunnels"] if one["client"] == client]
    return one["tunnel"]


def test_errors_and_what_the_tls_rules_rejected_stand_there(chrome, upstream):
    with started(tls_rules=None) as gateway:
        with gateway.tunnel(upstream.target) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_all(sock)
        refuse(gateway, f"{address()}:443")
        chrome.get(gateway.page)
        shows(chrome, '[data-v="rejected_total"]', "of them 1 rejected by the TLS rules")
        shows(chrome, '[data-v="errors_total"]', "Errors: 1")
        assert text(chrome, '[data-v="refused_total"]') == "2 since the start"


def counted(gateway):
    with urllib.request.urlopen(f"{gateway.page}status", timeout=20) as answer:
        return f"{json.load(answer)['counters']['allowed']:,}"
