"""The language of a command: the setting `language`, else that of the locale, as far as the terminal can show it.

The gateway itself speaks English, as what it says is for the log; and so do answers as JSON, which programs read, and
the doctor when it packs what it found for whoever helps from afar.
"""

from collections.abc import Mapping, Sequence

from ogw.language.known import AUTO, ENGLISH, LANGUAGES, meant, shows

HELPS = ("-h", "--help")
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # locale(7): the first that is not empty holds


def spoken(words: Sequence[str], environment: Mapping[str, str], encoding: str) -> str:
    """For this command line, on an output of this encoding (LANGUAGES)."""
    is_for_others = words[:1] == ["run"] or "--json" in words or any(word.startswith("--bundle") for word in words)
    if is_for_others and not any(word in HELPS for word in words):
        return ENGLISH
    language = _set(words, environment) or _of_locale(environment)
    return language if shows(encoding, language) else ENGLISH


def _set(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """By a flag, a variable or the INI file, in this order; "" for none, and for one that is wrong."""
    asked = last(words, "--language") or environment.get("OGW_LANGUAGE", "")
    if not asked:
        from ogw.settings.ini.glance import glance
        from ogw.settings.usual import DEFAULT_FILE

        asked = glance(last(words, "--config") or environment.get("OGW_CONFIG") or DEFAULT_FILE, "language")
    return asked if asked != AUTO and asked in LANGUAGES else ""


def last(words: Sequence[str], flag: str) -> str:
    """The value of a flag in a command line, the last one; "" where it is not there."""
    found = ""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == flag:
            found = following
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def _of_locale(environment: Mapping[str, str]) -> str:
    return meant(next(filter(None, (environment.get(name) for name in LOCALE)), "")) or ENGLISH
