"""The language of a command: a flag, a variable, the INI file, the locale, in this order, as far as it can be shown."""

import pytest

from ogw.cli.spoken import spoken


@pytest.fixture
def ini(tmp_path):
    path = tmp_path / "ogw.ini"
    path.write_text("[ogw]\nlanguage = fr\n")
    return str(path)


def test_a_flag_beats_a_variable_which_beats_the_file_which_beats_the_locale(ini):
    words, environment = ["check"], {}
    assert spoken(words, environment, "utf-8") == "en"
    environment["LANG"] = "it_IT.UTF-8"
    assert spoken(words, environment, "utf-8") == "it"
    environment["LC_MESSAGES"] = "es_ES.UTF-8"
    assert spoken(words, environment, "utf-8") == "es"
    environment["LC_ALL"] = "pl_PL.UTF-8"
    assert spoken(words, environment, "utf-8") == "pl"
    environment["OGW_CONFIG"] = ini
    assert spoken(words, environment, "utf-8") == "fr"
    environment["OGW_LANGUAGE"] = "ja"
    assert spoken(words, environment, "utf-8") == "ja"
    assert spoken([*words, "--language", "ru"], environment, "utf-8") == "ru"
    assert spoken([*words, "--language", "ru", "--language=hu"], environment, "utf-8") == "hu"


def test_the_file_may_be_named_by_a_flag(ini):
    assert spoken(["check", "--config", ini], {}, "utf-8") == "fr"
    assert spoken(["check", f"--config={ini}"], {"OGW_CONFIG": "/dev/null"}, "utf-8") == "fr"


@pytest.mark.parametrize("value", ["klingon", "auto", "", "de_DE", "\0", "x" * 100_000])
def test_a_setting_that_is_wrong_or_auto_leaves_it_to_the_locale(value):
    assert spoken(["check"], {"OGW_LANGUAGE": value, "LANG": "de_DE.UTF-8"}, "utf-8") == "de"


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[ogw]\nlanguage\n[", b"[ogw]\nlanguages = de\n"])
def test_a_file_that_is_wrong_is_left_to_the_command(tmp_path, text):
    path = tmp_path / "ogw.ini"
    path.write_bytes(text)
    assert spoken(["check"], {"OGW_CONFIG": str(path)}, "utf-8") == "en"


def test_a_terminal_that_cannot_show_it_gets_english():
    assert spoken(["check"], {"LANG": "ja_JP.UTF-8"}, "ascii") == "en"
    assert spoken(["check"], {"OGW_LANGUAGE": "cs"}, "iso8859-1") == "en"


def test_the_gateway_and_answers_as_json_speak_english_and_their_help_does_not():
    environment = {"OGW_LANGUAGE": "de"}
    assert spoken(["run", "--allowed-host", "a.example"], environment, "utf-8") == "en"
    assert spoken(["check", "--json"], environment, "utf-8") == "en"
    assert spoken(["doctor", "--bundle", "b.tgz"], environment, "utf-8") == "en"
    assert spoken(["doctor", "--bundle=b.tgz"], environment, "utf-8") == "en"
    assert spoken(["doctor"], environment, "utf-8") == "de"
    assert spoken(["check", "--json", "--help"], environment, "utf-8") == "de"
    assert spoken(["run", "--help"], environment, "utf-8") == "de"
