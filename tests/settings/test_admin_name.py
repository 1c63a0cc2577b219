"""admin-name: a host's name as a browser or a reverse proxy writes it, and nothing else."""

import pytest

from ogw.settings.loader import ConfigError, load

SHOWN = ("--admin-page", "yes")


def test_names_are_compared_as_they_come_in_a_host_header():
    config = load([*SHOWN, "--admin-name", "Gate.Example.com., ogw", "--admin-name=xn--bcher-kva.example"], {})
    assert config.admin_name == ("gate.example.com", "ogw", "xn--bcher-kva.example") and config.warnings
    assert not any("admin-name" in warning for warning in config.warnings)
    assert load([], {}).admin_name == ()


@pytest.mark.parametrize(
    "wrong",
    ["https://gate.example.com", "gate.example.com:9180", "gate.example.com/ogw", "*", "*.example.com", ".example.com",
     "a..b", "a b", "a" * 64, "b\u00fccher.example", "10.1", "user@gate"],
)  # fmt: skip
def test_what_is_no_name_is_a_mistake_that_shows_one(wrong):
    with pytest.raises(ConfigError) as caught:
        load([*SHOWN, "--admin-name", wrong], {})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("--admin-name: ") and "such as gateway.example.com" in mistake


def test_a_name_that_is_not_ascii_is_told_with_the_form_that_is_right():
    with pytest.raises(ConfigError, match=r"its A-label form is xn--bcher-kva\.example; a host name has"):
        load([*SHOWN, "--admin-name", "b\u00fccher.example"], {})


@pytest.mark.parametrize("address", ["10.1.2.3", "[2001:db8::1]"])
def test_an_address_needs_no_name(address):
    with pytest.raises(ConfigError, match="is an IP address, for which no name is needed"):
        load([*SHOWN, "--admin-name", address], {})


def test_there_are_so_many_at_most():
    assert len(load([*SHOWN, "--admin-name", ",".join(f"h{n}" for n in range(256))], {}).admin_name) == 256
    with pytest.raises(ConfigError, match="admin-name"):
        load([*SHOWN, "--admin-name", ",".join(f"h{n}" for n in range(257))], {})


@pytest.mark.parametrize("flags", [(), ("--admin-page", "yes", "--admin-address="), ("--admin-page", "no")])
def test_where_there_is_no_page_a_name_is_odd(flags):
    assert any("admin-name does nothing" in one for one in load([*flags, "--admin-name", "gate"], {}).warnings)
