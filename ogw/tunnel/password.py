"""The password for the relay proxies, which may be another one by and by. No gevent here."""

from collections.abc import Callable
from typing import Optional

from ogw.wire.relay_proxy import Credentials, credentials


class PasswordSource:
    """The credentials that the settings give for all relay proxies without their own.

    read  reads the password anew; raises OSError or ValueError. None where it cannot become another
    tell  is told in a sentence why what was read again cannot be used, once for each reason
    """

    def __init__(
        self,
        given: Optional[Credentials],
        read: Optional[Callable[[], str]] = None,
        tell: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self.given = given
        self._read = read
        self._tell = tell
        self._told = ""

    def reread(self) -> bool:
        """Read it again, and take what is found; whether that is another one."""
        if self._read is None or self.given is None:
            return False
        try:
            password = self._read()
            if not password:
                raise ValueError("it is empty")  # as while it is being written
            fresh = credentials(self.given.user.reveal(), password)
        except (OSError, ValueError) as error:
            why = str(error.strerror if isinstance(error, OSError) else error)
            if why != self._told:
                self._tell(f"{why}; the password of before stays")
            self._told = why
            return False
        self._told = ""
        if fresh == self.given:
            return False
        self.given = fresh
        return True
