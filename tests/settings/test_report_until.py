"""policy-mode = report and its end: what is taken, and what a mistake says."""

import time

import pytest

from ogw.policy.rules import parse_time, time_text
from ogw.settings.loader import ConfigError, load

DAY = 86400.0


def mistakes(*arguments, **environment):
    with pytest.raises(ConfigError) as caught:
        load(list(arguments), environment)
    return list(caught.value.mistakes)


def report(seconds):
    return "--policy-mode", "report", "--report-until", time_text(int(time.time() + seconds))


@pytest.mark.parametrize("ahead", [60.0, 7 * DAY - 60])
def test_report_has_an_end_at_most_seven_days_ahead(ahead):
    config = load(report(ahead), {})
    assert config.reports_until == pytest.approx(time.time() + ahead, abs=30)
    assert config.warnings == ()


def test_the_default_is_to_enforce():
    assert load([], {}).reports_until is None
    assert load([], {}).policy.hash == load(["--policy-mode", "enforce"], {}).policy.hash


@pytest.mark.parametrize("end", [(), ("--report-until", ""), ("--report-until", " ")])
def test_report_without_an_end_says_a_right_one(end):
    (told,) = mistakes("--policy-mode", "report", *end)
    right = told.rpartition("report-until = ")[2]
    assert time.time() + DAY - 120 < parse_time(right) < time.time() + DAY
    assert load(["--policy-mode", "report", "--report-until", right], {}).reports_until


def test_an_end_too_far_ahead_says_the_latest():
    (told,) = mistakes(*report(8 * DAY))
    right = told.rpartition("report-until = ")[2].partition(",")[0]
    assert time.time() + 7 * DAY - 120 < parse_time(right) < time.time() + 7 * DAY
    assert load(["--policy-mode", "report", "--report-until", right], {}).reports_until


@pytest.mark.parametrize(
    ("until", "says"),
    [
        ("2h", "is not a time with its zone (RFC 3339), such as 2027-01-31T18:00:00Z"),
        ("2027-01-31T18:00:00", "is not a time with its zone"),
        ("2027-01-31", "is not a time with its zone"),
        ("2027-13-31T18:00:00Z", "is not a time that exists"),
    ],
)
def test_an_end_that_is_none_is_told_once(until, says):
    (told,) = mistakes("--policy-mode", "report", "--report-until", until)
    assert told.startswith(f"--report-until: '{until}': ") and says in told
    (told,) = mistakes(OGW_POLICY_MODE="report", OGW_REPORT_UNTIL=until)
    assert told.startswith("OGW_REPORT_UNTIL: ")


def test_a_mode_that_is_none_is_told():
    (told,) = mistakes("--policy-mode", "learn")
    assert told == "--policy-mode: 'learn': it is none of enforce, report"


def test_an_end_that_has_passed_is_a_warning_so_that_a_reboot_starts_the_gateway():
    config = load(["--allowed-host", "a.example", *report(-60)], {})
    assert len(config.warnings) == 1 and "(report-until): the policy is enforced" in config.warnings[0]


def test_an_end_without_the_mode_is_a_warning():
    config = load(["--allowed-host", "a.example", "--report-until", "2020-01-01T00:00:00Z"], {})
    assert config.warnings == ("report-until does nothing with policy-mode = enforce",)
    assert config.reports_until is None
