"""What became of credentials, as several processes know it together."""

import os

import pytest

from ogw.tunnel.tried import PLACES, Tried, WasRefused

SECRET = b"http://p.example:3128 Basic dGlsbDpzM2NyZXQ="


@pytest.fixture
def tried():
    return Tried()


def in_another_process(work):
    """What it says there, as a text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="ascii") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def begun(tried):
    """Whether it is one's turn: "yes", "no", "refused"."""
    try:
        return "no" if tried.begin(SECRET) is None else "yes"
    except WasRefused:
        return "refused"


def test_what_nobody_knows_is_tried_by_one_at_a_time_in_whatever_process(tried):
    turn = tried.begin(SECRET)
    assert begun(tried) == "no" and in_another_process(lambda: begun(tried)) == "no"
    turn.end()
    assert in_another_process(lambda: begun(tried)) == "yes"
    # That process is gone without a word, and its try with it.
    assert begun(tried) == "yes"


def test_what_worked_is_sent_by_all_at_once(tried):
    turn = tried.begin(SECRET)
    turn.worked()
    assert begun(tried) == "yes" and in_another_process(lambda: begun(tried)) == "yes"
    turn.end()
    assert begun(tried) == "yes"


def test_what_was_refused_in_one_process_is_sent_by_none_before_somebody_wants_that(tried):
    assert in_another_process(lambda: tried.begin(SECRET).refused()) == "None"
    assert begun(tried) == "refused" and in_another_process(lambda: begun(tried)) == "refused"
    assert tried.begin(SECRET + b"!") is not None
    tried.forget_refusals()
    assert in_another_process(lambda: begun(tried)) == "yes"


def test_what_worked_and_is_doubted_is_tried_by_one_again(tried):
    first, second = tried.begin(SECRET), None
    first.worked()
    first.end()
    first, second = tried.begin(SECRET), tried.begin(SECRET)
    first.doubted()
    first.end()
    third = tried.begin(SECRET)
    assert begun(tried) == "no"
    third.refused()
    second.doubted()  # it comes too late: one found it out
    third.end()
    assert begun(tried) == "refused"


def test_a_late_success_does_not_undo_a_refusal(tried):
    turn = tried.begin(SECRET)
    turn.worked()
    turn.end()
    slow, quick = tried.begin(SECRET), tried.begin(SECRET)
    quick.refused()
    slow.worked()  # it was sent before the password became another one, and its target took long
    slow.end()
    assert begun(tried) == "refused"


def test_a_late_success_does_not_undo_a_doubt(tried):
    turn = tried.begin(SECRET)
    turn.worked()
    turn.end()
    slow, quick = tried.begin(SECRET), tried.begin(SECRET)
    quick.doubted()
    slow.worked()
    assert tried.begin(SECRET).is_alone


def test_who_lets_others_try_meanwhile_is_heard_unless_they_are_refused(tried):
    slow = tried.begin(SECRET)
    slow.end()
    quick = tried.begin(SECRET)
    quick.end()
    slow.worked()
    assert not tried.begin(SECRET).is_alone
    quick.refused()
    slow.worked()
    assert begun(tried) == "refused"


def test_credentials_do_not_make_others_be_forgotten(tried):
    """Whatever place their hashes come to: each time that would cost one more refusal."""
    identities = [b"%b%d" % (SECRET, number) for number in range(PLACES // 4)]
    for identity in identities:
        turn = tried.begin(identity)
        turn.refused()
        turn.end()
    assert all(in_memory(tried, identity) for identity in identities)


def test_to_forget_refusals_is_not_to_forget_what_worked(tried):
    turn = tried.begin(SECRET)
    turn.worked()
    turn.end()
    tried.forget_refusals()
    assert tried.begin(SECRET) is not None and tried.begin(SECRET) is not None


def test_what_cannot_be_refused_is_always_sent(tried):
    for _turn in range(3):
        turn = tried.begin(b"")
        turn.refused()
        turn.doubted()
    turn.end()


def test_the_memory_holds_no_secret_and_many_credentials(tried):
    for number in range(3 * PLACES):
        turn = tried.begin(b"%b%d" % (SECRET, number))
        turn.refused()
        turn.end()
    assert SECRET[-12:] not in tried._memory[:] and SECRET.decode() not in repr(vars(tried))
    known = sum(in_memory(tried, b"%b%d" % (SECRET, number)) for number in range(3 * PLACES))
    assert PLACES // 2 < known <= PLACES


def in_memory(tried, identity):
    try:
        turn = tried.begin(identity)
    except WasRefused:
        return True
    turn.end()
    return False
