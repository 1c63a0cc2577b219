"""A real browser, Chromium, that looks at the page. It is told not to ask the network for anything of its own."""

import contextlib
import tempfile

from harness.peers import peer

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def browser(*flags):
    """A driver of selenium's, for as long as the block lasts."""
    program, driver = peer("chromium"), peer("chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in (*QUIET, f"--user-data-dir={folder}", *flags):
            options.add_argument(flag)
        # The path of the driver is given, so that nobody looks for one to download.
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        try:
            yield chrome
        finally:
            chrome.quit()


def look(chrome, width=1280, height=900, theme="light", scale=1, touch=False):
    """What it is looked at with: a screen of so many CSS pixels, and the theme that the reader wants."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": touch}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def block_scripts(chrome, blocked=True):
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": blocked})


def complaints(chrome):
    """What the browser's console has said since it was last asked."""
    return [entry["message"] for entry in chrome.get_log("browser")]
