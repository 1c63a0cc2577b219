"""The languages that messages are translated into, and which of them a tag or a locale means."""

from typing import NamedTuple

ENGLISH = "en"
AUTO = "auto"  # whatever the reader's surroundings say


class Language(NamedTuple):
    """
    name    its own, as it stands on the page
    letters some that only who can show its texts can show; "" where ASCII is enough
    """

    name: str
    letters: str


# By what catalogs and the setting call them: a language, and its country where there are two.
LANGUAGES = {
    ENGLISH: Language("English", ""),
    "cs": Language("Čeština", "ěščřžýáíéúůďťň"),
    "de": Language("Deutsch", "äöüß"),
    "es": Language("Español", "áéíóúñ¿"),
    "fr": Language("Français", "éèàçêû"),
    "hu": Language("Magyar", "áéíóöőúüű"),
    "it": Language("Italiano", "àèéìòù"),
    "ja": Language("日本語", "日本語"),
    "ko": Language("한국어", "한국어"),
    "nl": Language("Nederlands", "ë"),
    "pl": Language("Polski", "ąćęłńóśźż"),
    "pt_BR": Language("Português (Brasil)", "áãçéêíóõú"),
    "pt_PT": Language("Português (Portugal)", "áãçéêíóõú"),
    "ru": Language("Русский", "русский"),
    "zh_CN": Language("简体中文", "简体中文"),
    "zh_TW": Language("繁體中文", "繁體中文"),
}
# Where the country is not one of those above.
_SCRIPTS = {"hant": "zh_TW", "hk": "zh_TW", "mo": "zh_TW", "hans": "zh_CN"}
_USUAL = {"zh": "zh_CN", "pt": "pt_PT"}
_ALONE = {"pt": "pt_BR"}  # "pt" without a country (CLDR's likely subtags)


def meant(tag: str) -> str:
    """The language that `de-AT` (RFC 5646) or `de_AT.UTF-8@euro` (setlocale(3)) asks for; "" for none that there is."""
    parts = tag.partition(".")[0].partition("@")[0].replace("-", "_").lower().split("_")
    if parts in (["c"], ["posix"]):
        return ENGLISH
    by_part = {name.lower(): name for name in LANGUAGES}
    first = parts[0]
    for part in parts[1:]:
        name = by_part.get(f"{first}_{part}") or (_SCRIPTS.get(part) if first == "zh" else None)
        if name is not None:
            return name
    if len(parts) == 1 and first in _ALONE:
        return _ALONE[first]
    return by_part.get(first) or _USUAL.get(first, "")


def shows(encoding: str, language: str) -> bool:
    """Whether a stream of this encoding can show its texts."""
    try:
        LANGUAGES[language].letters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
