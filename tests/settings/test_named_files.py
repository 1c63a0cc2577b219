"""Variables that name a file with a secret: what it comes to, and what is told of one that is wrong."""

import pytest

from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import FILE_VARIABLES, SETTINGS

SOURCE = "https://lists.example.com/hosts?sig=5ecret"


def mistakes(environment, *flags):
    with pytest.raises(ConfigError) as caught:
        load(flags, environment)
    return caught.value.mistakes


def given(tmp_path, data):
    path = tmp_path / "secret"
    path.write_bytes(data)
    return str(path)


def test_each_setting_that_may_hold_a_secret_has_one():
    hidden = {setting.name for setting in SETTINGS.values() if setting.hides}
    assert hidden == {*FILE_VARIABLES.values(), "relay-proxy-password"}
    assert SETTINGS["relay-proxy-password-file"].variable == "OGW_RELAY_PROXY_PASSWORD_FILE"
    assert not FILE_VARIABLES.keys() & {setting.variable for setting in SETTINGS.values()}


@pytest.mark.parametrize("data", [b"till-7", b"till-7\n", b"\xef\xbb\xbftill-7\r\n"])
def test_a_user_name_stands_in_its_file(tmp_path, data):
    config = load([], {"OGW_RELAY_PROXY_USERNAME_FILE": given(tmp_path, data)})
    assert config.relay_proxy_username.reveal() == "till-7"
    (origin,) = config.origins["relay-proxy-username"]
    assert origin.source == "OGW_RELAY_PROXY_USERNAME_FILE" and "till" not in origin.text


def test_values_of_a_list_stand_one_a_line_and_add_up_with_others(tmp_path):
    proxies = given(tmp_path, b"http://one:5ecret@proxy-1.example.com:3128\nhttp://proxy-2.example.com:3128\n\n")
    config = load(["--relay-proxy", "http://proxy-0.example.com:3128"], {"OGW_RELAY_PROXY_FILE": proxies})
    assert list(map(str, config.relay_proxy)) == [f"http://proxy-{number}.example.com:3128" for number in range(3)]
    assert "5ecret" not in str(config.origins)


def test_a_flag_beats_it_and_the_ini_file_does_not(tmp_path):
    path = given(tmp_path, b"of-the-file")
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nrelay-proxy-username = of-the-ini\n")
    environment = {"OGW_RELAY_PROXY_USERNAME_FILE": path, "OGW_CONFIG": str(ini)}
    assert load([], environment).relay_proxy_username.reveal() == "of-the-file"
    assert load(["--relay-proxy-username", "of-the-flag"], environment).relay_proxy_username.reveal() == "of-the-flag"


def test_an_empty_name_is_none():
    assert load([], dict.fromkeys(FILE_VARIABLES, "")) == load([], {})


def test_it_is_no_unknown_variable(tmp_path):
    config = load([], {"OGW_ALLOWED_HOST_SOURCE_FILE": given(tmp_path, SOURCE.encode())})
    assert not [warning for warning in config.warnings if "_FILE" in warning]


@pytest.mark.parametrize("variable", FILE_VARIABLES)
def test_the_value_and_its_file_are_one_too_many(tmp_path, variable):
    both = {variable: given(tmp_path, b"x"), variable.removesuffix("_FILE"): "http://x.example.com:1"}
    told = f"{variable}: {variable.removesuffix('_FILE')} is set, too; only one of them can be set"
    assert told in mistakes(both)


@pytest.mark.parametrize("variable", FILE_VARIABLES)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "No such file or directory"),
        (b"x" * 70_000, "is larger than "),
        ("5ecret\n".encode("utf-16"), "is a text in UTF-16"),
        (b"5ecr\xe4t", "is not a text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_mistake_that_names_it(tmp_path, variable, data, why):
    path = str(tmp_path / "none") if data is None else given(tmp_path, data)
    (told,) = mistakes({variable: path})
    assert told.startswith(f"{variable}: {path}: ") and why in told and "5ec" not in told


def test_a_folder_and_a_second_line_are_mistakes(tmp_path):
    variable = "OGW_RELAY_PROXY_USERNAME_FILE"
    assert mistakes({variable: str(tmp_path)}) == (f"{variable}: {tmp_path}: Is a directory",)
    path = given(tmp_path, b"one\ntwo\n")
    assert mistakes({variable: path}) == (f"{variable}: {path}: it has more than one line",)


def test_a_password_beside_a_user_name_that_cannot_be_read_is_one_mistake(tmp_path):
    environment = {"OGW_RELAY_PROXY_USERNAME_FILE": "/no/user", "OGW_RELAY_PROXY_PASSWORD_FILE": given(tmp_path, b"x")}
    assert len(mistakes(environment, "--relay-proxy", "http://proxy.example.com:3128")) == 1
