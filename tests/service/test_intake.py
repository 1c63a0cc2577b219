"""What is kept of a download, where the disk has no room for it."""

import pytest
from harness.disks import room_for

from ogw.service.intake import DownloadFailed, Fetched, take
from ogw.settings.elsewhere.copies import Copy, write_copy
from ogw.settings.elsewhere.kept import read_good_copy
from ogw.settings.elsewhere.record import read_record
from ogw.settings.elsewhere.rollback import Lists
from ogw.settings.loader import load

URL = "https://lists.example/hosts.txt"


def body_of(count):
    return b"".join(b"host%d.example\n" % number for number in range(count))


def copy_of(body):
    return Copy(URL, "", "", 1.0, body)


def test_a_list_that_cannot_be_kept_lets_the_one_that_was_rolled_back_stay_held(tmp_path):
    state = str(tmp_path)
    config = load([f"--state-dir={state}", f"--allowed-host-source={URL}"], {})
    write_copy(state, copy_of(body_of(1)))
    write_copy(state, copy_of(body_of(2)), keeps_before=True)
    Lists(state, URL, 1 << 20, ()).roll_back("somebody")
    good = read_good_copy(URL, state, 1 << 20, ())
    before = read_record(state, URL)
    assert before.held is not None
    fresh = Fetched(copy_of(body_of(1000)), None)
    with room_for(4096), pytest.raises(DownloadFailed, match="its copy cannot be kept"):
        take(URL, fresh, config, good)
    assert read_record(state, URL) == before
    assert take(URL, Fetched(copy_of(body_of(2)), None), config, good).held
    assert take(URL, fresh, config, good).rules == 1000 and read_record(state, URL).held is None
