"""What the kernel says of a connection attempt, as a reason and in words."""

import errno

import pytest

from ogw.policy.decision import Reason
from ogw.tunnel.attempt import NO_PORTS, failure


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ECONNREFUSED, Reason.CONNECTION_REFUSED),
        (errno.ECONNRESET, Reason.CONNECTION_RESET),
        (errno.ETIMEDOUT, Reason.CONNECTION_TIMEOUT),
        (errno.EHOSTUNREACH, Reason.UNREACHABLE),
        (errno.EACCES, Reason.UNREACHABLE),
        (errno.ENOBUFS, Reason.NO_DESCRIPTORS),
        (errno.ENOMEM, Reason.NO_DESCRIPTORS),
    ],
)
def test_each_error_has_its_reason_also_where_the_kernel_has_no_memory(code, reason):
    failed = failure(code)
    assert failed.reason is reason and failed.detail


def test_no_local_port_is_told_with_what_to_do():
    assert failure(errno.EADDRNOTAVAIL).detail == NO_PORTS
