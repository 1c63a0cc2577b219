"""The latest refusals by the id of their tunnel: so many, and no more characters than that."""

from ogw.report.recent import MOST, MOST_CHARACTERS, MOST_DETAIL, TUNNEL_ID, Recent, Told


def told(number, detail="no rule allows it", reason="host-not-allowed"):
    tunnel = f"3fa1c2-{number}"
    return Told(tunnel, 1.5, "192.0.2.1:40000", "www.example.com:443", reason, 105, detail, True, True)


def test_the_last_thousand_are_found_and_the_one_before_is_not():
    recent = Recent()
    for number in range(MOST + 1):
        recent.add(told(number))
    assert recent.find("3fa1c2-0") == [] and recent.find("3fa1c2-1") == [told(1)]
    assert recent.find(f"3fa1c2-{MOST}") == [told(MOST)]


def test_a_tunnel_that_only_reports_may_have_several():
    recent = Recent()
    several = [told(7, reason=reason) for reason in ("host-not-allowed", "server-name-missing")]
    for one in (several[0], told(8), several[1]):
        recent.add(one)
    assert recent.find("3fa1c2-7") == several


def test_long_details_are_cut_and_take_the_place_of_others():
    recent = Recent()
    for number in range(MOST):
        recent.add(told(number, "x" * 5000))
    (last,) = recent.find(f"3fa1c2-{MOST - 1}")
    assert MOST_DETAIL <= len(last.detail) < MOST_DETAIL + 40 and "more characters" in last.detail
    kept = sum(bool(recent.find(f"3fa1c2-{number}")) for number in range(MOST))
    assert MOST_CHARACTERS / 1000 < kept < MOST_CHARACTERS / MOST_DETAIL


def test_what_an_id_looks_like():
    assert all(map(TUNNEL_ID.match, ("837935-12", "3fa1c2-1")))
    assert not any(map(TUNNEL_ID.match, ("105", "ogw-105", "host-not-allowed", "3fa1c2-", "3FA1C2-1", "3fa1c2-1\n")))
