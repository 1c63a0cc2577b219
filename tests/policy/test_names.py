"""Rules for clients by the names in their certificates, and rules of a stage: who fits, at each place that asks."""

import pytest
from harness.hellos import HOST, hello
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.names import NOBODY, name_of_word, parse_name, shown
from ogw.policy.recheck import Session, recheck
from ogw.policy.rules import parse_rules
from ogw.policy.tls_rules import TlsRules
from ogw.tunnel.grounds import Grounds
from ogw.wire.connect import parse_target

HELLO = hello()
TARGET, CLIENT = parse_target(b"www.example.com:443"), "10.0.0.1"
TILL = frozenset({"cn:till-17", "san:till-17.shop.example", "san:10.1.2.3"})


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "ogw.ini:3", denied)
    assert mistakes == []
    return read


def judge(allowed, names=NOBODY, client=CLIENT, stage="", denied="", **more):
    policy = Policy(rules(allowed), rules(denied, True), stage=stage, **more)
    return policy.judge_target(TARGET, client, 0.0, names)


@pytest.mark.parametrize(
    ("clients", "fits", "others"),
    [
        ("from=cn:till-17", [TILL], [NOBODY, {"san:till-17"}, {"cn:till-1"}, {"cn:till-177"}, {"cn:Till-17"}]),
        ("from=san:till-17.shop.example", [TILL], [{"cn:till-17.shop.example"}, {"san:TILL-17.shop.example"}]),
        ("from=cn:nobody from=san:till-17.shop.example", [TILL], [{"cn:other"}]),
        ("from=10.9.0.0/16 from=cn:till-17", [TILL], [NOBODY]),
        ("from=10.0.0.0/16 from=cn:till-17", [TILL, NOBODY, {"cn:other"}], []),
        ('from="cn:Till 17, left"', [{"cn:Till 17, left"}], [{"cn:Till 17"}, {"cn:Till", "cn:17"}, NOBODY]),
    ],
)
def test_a_rule_holds_for_whoever_has_one_of_its_names_or_comes_from_one_of_its_networks(clients, fits, others):
    for names in fits:
        assert judge(f"www.example.com {clients}", frozenset(names)).allowed, names
    for names in others:
        decision = judge(f"www.example.com {clients}", frozenset(names))
        assert decision.reason is Reason.HOST_NOT_ALLOWED, names
        assert f"is for other clients than {shown(CLIENT, frozenset(names))}" in decision.detail
        assert decision.detail.endswith(", which showed no certificate") == (names == NOBODY)


def test_a_name_that_reads_as_an_address_is_no_address_and_the_other_way_round():
    named, network = "www.example.com from=cn:10.1.2.3 from=san:10.1.2.4", "www.example.com from=10.1.2.3"
    assert not judge(named, client="10.1.2.3").allowed and not judge(named, client="10.1.2.4").allowed
    assert not judge(network, frozenset({"cn:10.1.2.3", "san:10.1.2.3"})).allowed
    assert judge(named, frozenset({"cn:10.1.2.3"})).allowed and judge(network, client="10.1.2.3").allowed


def test_a_denial_goes_by_the_address_whoever_it_is():
    assert not judge("www.example.com from=cn:till-17", TILL, denied="www.example.com from=10.0.0.0/8").allowed
    assert judge("www.example.com from=cn:till-17", TILL, "192.0.2.1", denied="www.example.com from=10.0.0.0/8").allowed


def test_a_refusal_names_who_it_was_and_not_without_end():
    (detail,) = {judge("www.example.com from=cn:other", TILL).detail}
    assert "than 10.0.0.1 (cn:till-17, san:10.1.2.3, san:till-17.shop.example)" in detail
    many = frozenset(f"san:{number:03}.example" for number in range(500))
    assert judge("www.example.com from=cn:other", many).detail.endswith("san:003.example and 496 more)")
    port = judge("www.example.com:8443 from=cn:till-17", TILL)
    assert port.reason is Reason.PORT_NOT_ALLOWED
    assert judge("www.example.com:8443 from=cn:till-17").reason is Reason.HOST_NOT_ALLOWED


def test_a_name_has_a_place_in_the_hash_and_what_looks_like_a_note_in_it_too():
    texts = ["a.example", "a.example from=cn:x", "a.example from=san:x", 'a.example from="cn:x note=y"']
    texts += ['a.example from="cn:x note=z"', 'a.example from="cn:x note=y" from=10.0.0.0/8']
    assert len({Policy(rules(text)).hash for text in texts}) == len(texts)


def test_what_is_kept_of_a_tunnel_is_judged_with_its_names():
    policy = Policy(rules("www.example.com from=cn:till-17, other.example.com from=san:till-17.shop.example"))
    assert recheck(policy, CLIENT, TARGET, names=TILL).allowed
    assert recheck(policy, CLIENT, TARGET).reason is Reason.HOST_NOT_ALLOWED
    grounds = Grounds(policy)
    grounds.target = TARGET
    assert grounds.recheck(policy, CLIENT, None, TILL).allowed and not grounds.recheck(policy, CLIENT).allowed
    gone = Policy(rules("www.example.com from=cn:till-18"))
    assert grounds.recheck(gone, CLIENT, None, TILL).reason is Reason.HOST_NOT_ALLOWED


def test_another_server_name_is_judged_with_them_too():
    allowed = f"www.example.com, {HOST} from=cn:till-17"
    policy = Policy(rules(allowed), tls=TlsRules(any_allowed_host=True))
    session = Session(HOST, 0x0303)
    assert recheck(policy, CLIENT, TARGET, "", session, names=TILL).allowed
    assert recheck(policy, CLIENT, TARGET, "", session).reason is Reason.SERVER_NAME_MISMATCH
    for names, reason in ((TILL, None), (NOBODY, Reason.SERVER_NAME_MISMATCH)):
        handshake = Handshake(policy, TARGET, CLIENT, False, names)
        handshake.client_said(HELLO)
        assert (handshake.rejection and handshake.rejection.reason) is reason
        assert handshake.settled is (reason is not None)
    handshake = Handshake(policy, TARGET, CLIENT, False, TILL)
    handshake.client_said(HELLO)
    handshake.go_on_under(policy, False)
    assert handshake.rejection is None
    handshake.go_on_under(Policy(rules("www.example.com"), tls=TlsRules(any_allowed_host=True)), False)
    assert handshake.rejection.reason is Reason.SERVER_NAME_MISMATCH


def test_a_policy_that_wants_server_names_judges_a_handshake_that_has_begun_without_one():
    allowed = Policy(rules(f"{HOST} no-server-name"))
    handshake = Handshake(allowed, TARGET, CLIENT, True, NOBODY)
    handshake.client_said(hello(None))
    assert not handshake.settled
    handshake.go_on_under(Policy(rules(HOST)), False)
    assert handshake.rejection.reason is Reason.SERVER_NAME_MISSING


@given(st.text(min_size=1, max_size=40))
def test_a_name_is_taken_as_it_is_or_not_at_all(text):
    try:
        name = parse_name(f'"cn:{text}"')
    except ValueError as error:
        assert not text.strip('"') or not text.isprintable() or "*" in text or ":" in text or "=" in text, error
        return
    assert name == "cn:" + text.replace('"', "")
    assert judge(f'www.example.com from="{name}"', frozenset({name})).allowed


# Stages.


def test_a_rule_of_a_stage_is_for_gateways_of_that_stage():
    allowed = "www.example.com stage=canary"
    assert judge(allowed, stage="canary").allowed
    for stage, whose in (("", "this gateway is of none"), ("pilot", "this gateway is of stage pilot")):
        decision = judge(allowed, stage=stage)
        assert decision.reason is Reason.HOST_NOT_ALLOWED
        assert f"there is a rule for it, {allowed} (ogw.ini:3), but of stage canary, and {whose}" in decision.detail
    assert judge("www.example.com", stage="canary").allowed
    assert not judge("www.example.com", stage="canary", denied=allowed).allowed
    assert judge("www.example.com", denied=allowed).allowed


def test_the_hash_is_of_what_is_taken():
    def hash_of(text, stage=""):
        return Policy(rules(text), stage=stage).hash

    both = "a.example\nb.example stage=canary"
    assert hash_of(both) == hash_of("a.example") == hash_of(both, "pilot")
    assert hash_of(both, "canary") == hash_of("a.example\nb.example") == hash_of("a.example\nb.example", "canary")
    assert hash_of("a.example\na.example stage=canary", "canary") == hash_of("a.example")


def test_matches_show_those_of_other_stages():
    policy = Policy(rules("www.example.com stage=canary, *.example.com"), rules("www.example.com stage=pilot", True))
    found = [(str(match.rule), match.denies, match.obstacle) for match in policy.matches(TARGET, CLIENT)]
    assert found == [
        ("*.example.com", False, ""),
        ("www.example.com stage=pilot", True, "stage"),
        ("www.example.com stage=canary", False, "stage"),
    ]


def test_quotes_around_a_word_are_left_out_and_those_in_a_name_are_its_own():
    words = ["cn:ab", '"cn:ab"', 'cn:"ab"', 'cn:a"b', '"cn:a"b"']
    assert [*map(name_of_word, words)] == ["cn:ab", "cn:ab", "cn:ab", 'cn:a"b', 'cn:a"b']
    for wrong in ("", '"', "ab", '"ab"', "cn:", 'cn:""'):
        with pytest.raises(ValueError, match="is written cn:till-17"):
            name_of_word(wrong)
