"""Rules by the names of certificates need a listener that asks for one; rules of other stages are left out."""

import pytest

from ogw.settings.loader import ConfigError, load
from ogw.wire.connect import parse_target

NAMED, REQUIRED = "www.example.com from=cn:till-17", "listen-client-certificate = required"
TARGET = parse_target(b"www.example.com:443")


@pytest.fixture
def loaded(tmp_path):
    """A function: the configuration of an INI file with these lines below its section; flags and variables behind."""

    def load_ini(text, *flags, **variables):
        file = tmp_path / "gw.ini"
        file.write_text(f"[ogw]\n{text}")
        return load(["--config", str(file), *flags], variables)

    return load_ini


def mistakes(loaded, *given, **variables):
    with pytest.raises(ConfigError) as caught:
        loaded(*given, **variables)
    return caught.value.mistakes


def test_a_rule_that_could_hold_for_nobody_says_what_is_missing(loaded, tmp_path):
    (told,) = mistakes(loaded, f"allowed-host =\n    a.example\n    {NAMED}\n    b.example from=san:x\n")
    assert told == (
        f"{tmp_path}/gw.ini:4: host rule 'www.example.com from=cn:till-17': from=cn:till-17 names clients by their "
        "certificates, but no client shows one; set listen-client-certificate = required, with tls:// in "
        "listen-address and listen-client-ca, or name networks, as in from=10.1.0.0/16"
    )
    for flags, variables, source in (
        (["--allowed-host", NAMED], {}, "--allowed-host"),
        ([], {"OGW_ALLOWED_HOST": NAMED}, "OGW_ALLOWED_HOST"),
    ):
        assert mistakes(loaded, "", *flags, **variables)[0].startswith(f"{source}: host rule ")
    assert loaded(f"{REQUIRED}\nallowed-host = {NAMED}\n").policy.judge_target(
        TARGET, "10.0.0.1", None, frozenset({"cn:till-17"})
    )


def test_it_is_no_mistake_where_the_rule_is_of_another_stage(loaded):
    assert loaded(f"allowed-host = {NAMED} stage=canary\n")
    assert mistakes(loaded, f"allowed-host = {NAMED} stage=canary\nstage = canary\n")


@pytest.mark.parametrize("name", ["denied-host", "client-certificate-hosts", "relay-proxy-bypass"])
def test_lists_that_refuse_something_take_no_names(loaded, name):
    more = "allowed-client-certificate = CN=a\nrelay-proxy = proxy.example:3128\n"
    (told,) = mistakes(loaded, f"{REQUIRED}\n{more}{name} = {NAMED}\n")
    assert "a rule of this list has networks only" in told


def test_rules_of_a_stage_are_taken_wherever_they_come_from(loaded, tmp_path):
    (tmp_path / "list").write_text("list.example stage=canary\n*.example.org\n")
    text = f"allowed-host = file.example stage=canary\nallowed-host-source = {tmp_path}/list\n"
    flags, variables = ["--allowed-host", "flag.example stage=canary"], {"OGW_ALLOWED_HOST": "env.example stage=canary"}
    plain, canary = (loaded(text + more, *flags, **variables) for more in ("", "stage = canary\n"))
    for host in (b"file.example:443", b"flag.example:443", b"env.example:443", b"list.example:443"):
        assert not plain.policy.judge_target(parse_target(host), "10.0.0.1").allowed
        assert canary.policy.judge_target(parse_target(host), "10.0.0.1").allowed
    assert plain.policy.hash == loaded(f"allowed-host-source = {tmp_path}/list\n").policy.hash != canary.policy.hash


def test_hosts_of_client_certificates_that_are_all_of_another_stage_are_none_and_not_all(loaded):
    text = "allowed-host = www.example.com\nallowed-client-certificate = CN=a\nclient-certificate-hosts = "
    for stage, looked_at in (("", False), ("stage = canary\n", True)):
        rules = loaded(f"{text}www.example.com stage=canary\n{stage}").policy.tls
        assert (rules.subjects_for(TARGET, "10.0.0.1") is not None) is looked_at


@pytest.mark.parametrize("stage", ["Canary", "a b", "a_b", "x" * 33])
def test_a_stage_has_a_plain_name(loaded, stage):
    (told,) = mistakes(loaded, f"stage = {stage}\n")[:1]
    assert "is no name of a stage, which has 1 to 32 of a-z, 0-9 and -, such as canary" in told


def test_rules_of_lists_from_elsewhere_that_could_hold_for_nobody_are_a_warning(loaded, tmp_path):
    (tmp_path / "list").write_text(f"{NAMED}\nb.example from=san:x\nc.example from=cn:x stage=canary\nd.example\n")
    source = f"allowed-host-source = {tmp_path}/list\n"
    told = f"allowed-host-source: {tmp_path}/list: 2 of its rules name clients by their certificates, and hold for"
    assert sum(warning.startswith(told) for warning in loaded(source).warnings) == 1
    assert not any("hold for nobody" in warning for warning in loaded(f"{REQUIRED}\n{source}").warnings)


def test_a_gateway_whose_rules_are_all_of_another_stage_is_told_that_it_denies_everything(loaded):
    text = "allowed-host = www.example.com stage=canary\n"
    empty = "allowed-host is empty: every target is denied"
    assert empty in loaded(text).warnings and empty not in loaded(f"{text}stage = canary\n").warnings
