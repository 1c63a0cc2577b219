"""What a process becomes once the supervisor has forked it: a worker, or the admin process."""

import os
import secrets
import signal
from collections.abc import Sequence

from ogw.report.log import Log
from ogw.report.table import Table
from ogw.report.uncaught import report_uncaught_errors
from ogw.service.admin import process as admin
from ogw.service.admin.sockets import Sockets
from ogw.service.child import Child
from ogw.service.control import Channel
from ogw.service.handshakes import terms_of
from ogw.service.limits import Limits
from ogw.service.log import tell_of_failure
from ogw.service.reload import InForce
from ogw.service.signals import SIGNALS
from ogw.service.tunnels import Tunnels
from ogw.service.worker import Worker
from ogw.settings.named import flags_of, folder_of


class Births:
    """All of it is called in the child.

    in_force       a worker begins with the configuration of that moment
    own            where the whole gateway listens: (IP text, port)
    admin_sockets  where the admin process answers
    opens          workers accept at once
    """

    opens = True

    def __init__(
        self,
        in_force: InForce,
        log: Log,
        table: Table,
        limits: Limits,
        own: Sequence[tuple[str, int]],
        admin_sockets: Sockets,
    ) -> None:
        self._in_force = in_force
        first = in_force.first
        self.flags = flags_of(first, folder_of(first, os.environ))
        self._log = log
        self._table = table
        self._limits = limits
        self._own = own
        self._admin_sockets = admin_sockets
        self._via = f"ogw-{secrets.token_hex(6)}".encode()  # one name for all workers: a loop may come to another

    def leave_behind(self) -> None:
        """First of all: what is the supervisor's alone."""
        SIGNALS.close()
        for descriptor in self._table.descriptors:
            os.close(descriptor)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def be_worker(self, child: Child, channel: Channel) -> int:
        """Until it has drained; the exit code."""
        assert child.row is not None
        log = self._log.in_child(child.row.cells)
        report_uncaught_errors(log)
        config, table = self._in_force.config, self._table
        tunnels = Tunnels(
            config, log, table, child.row, self._limits, self._via, self._own, self.flags, self._in_force.tried
        )
        # A reload may have taken the certificate away with the place, which needs a restart and is here still.
        terms = terms_of(config) or terms_of(self._in_force.first)
        return Worker(log, child.sockets, channel, tunnels, self.opens, self._in_force.first.listen_tls, terms).serve()

    def be_admin(self, _child: Child, channel: Channel) -> int:
        """Until the supervisor is gone; the exit code."""
        log = self._log.in_child(self._table.admin.cells)
        report_uncaught_errors(log)
        return admin.serve(channel, self._admin_sockets, self._table, self._in_force.first, log)

    def fail(self, name: str, error: BaseException) -> None:
        """It ends by this error."""
        tell_of_failure(self._in_force.first, name, error)
