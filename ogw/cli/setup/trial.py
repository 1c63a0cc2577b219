"""What relay proxies are tried with before they are configured: the settings that will stand in the INI file."""

import os
from dataclasses import replace

from ogw.cli.edit.relay_wish import KEYTAB, URL
from ogw.cli.setup.answers import Answers, named_file, preview
from ogw.cli.setup.place import Place
from ogw.settings.ini.file import EditError
from ogw.settings.loader import load
from ogw.settings.settings import Config

SECONDS = 10.0  # the limit of each step


def config_of(answers: Answers, place: Place) -> Config:
    """The settings; where something else in the file is wrong, the defaults with these relay proxies."""
    try:
        config = preview(answers, place).config
    except EditError:
        config = None
    config = config or load(["--config", os.devnull], {})
    assert URL.read is not None
    return replace(
        config,
        relay_proxy=tuple(URL.read(url) for url in answers.values.get(URL.name, [])) or config.relay_proxy,
        relay_proxy_password_file="",  # it was a copy, and the password is known
        relay_proxy_keytab=named_file(answers, place, KEYTAB.name),
        dial_timeout=SECONDS,
        dns_timeout=SECONDS,
    )
