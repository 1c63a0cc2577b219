"""Who may ask on admin-address, from afar: its certificate, its tokens, and those who come without the right ones.

The files of both are watched. What is new is taken once it has stood still for a second; what is wrong is not, and what
was in force stays. Everything that is said here is said by the thread of `run`.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Optional

from ogw.report.events import Event
from ogw.report.log import Log, timestamp
from ogw.report.metrics import ADMIN_CERTIFICATE, ADMIN_REFUSED
from ogw.service.admin.response import text_of
from ogw.settings.admin_files import CERTIFICATE, TOKENS
from ogw.settings.elsewhere.gather import look
from ogw.settings.key_pair import KeyPair, read_key_pair
from ogw.settings.settings import Config
from ogw.settings.tokens import Tokens, read_tokens

LOOK_SECONDS = 1.0  # between looks at the files
TELL_SECONDS = 60.0  # between lines about those who were refused
OPEN = ("/healthz", "/readyz")  # to whoever asks
CAUSES = {"no-token": "sent no token", "wrong-token": "sent a token that is not in admin-token-file",
          "tls": "failed in the TLS handshake"}  # fmt: skip
ANSWERS = {
    "no-token": "this needs a token: send `Authorization: Bearer TOKEN`, with one of those in the file that the "
    "gateway's setting admin-token-file names",
    "wrong-token": "this token is none of those in the file that the gateway's setting admin-token-file names",
}

Seen = tuple[tuple[Any, ...], ...]


class Watched:
    """The files of one thing, which is read again when they have changed.

    why  what is wrong with them as they are now; "" while they are what is in force
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._taken = self._seen = self._look()
        self.why = ""

    def changed(self) -> bool:
        """They differ from those that were read last, and have stood still since the last look."""
        before, self._seen = self._seen, self._look()
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen  # what is wrong is not read again before it changes again
        return True

    def _look(self) -> Seen:
        return tuple(map(look, self._paths))


class Guard:
    """Asked by the threads of the admin process.

    config  has what was in the files at the start, which is in force until something better is
    cells   of the row of the admin process in the shared table
    """

    def __init__(self, config: Config, log: Log, cells: Any) -> None:
        self._config = config
        self._log = log
        self._cells = cells
        self._pair: Optional[KeyPair] = config.admin_key_pair
        self._tokens: Optional[Tokens] = config.admin_tokens
        self._pair_files = Watched(
            [config.admin_tls_certificate, config.admin_tls_key or config.admin_tls_certificate] if self._pair else []
        )
        self._token_files = Watched([config.admin_token_file] if self._tokens else [])
        self._lock = threading.Lock()
        self._refused: dict[str, tuple[int, str]] = {}  # by cause: how many of whom nobody told yet, and the last one
        self._told_at: dict[str, float] = {}
        cells[ADMIN_CERTIFICATE] = int(self._pair.expires) if self._pair else 0
        # A process that takes the place of one that died begins with what the gateway had at its start.
        self._take_pair()
        self._take_tokens()

    @property
    def has_work(self) -> bool:
        """There are files to watch, or somebody may be refused: `run` is needed."""
        return self._pair is not None or self._tokens is not None

    @property
    def encrypts(self) -> bool:
        return self._pair is not None

    def context(self) -> ssl.SSLContext:
        """That the next connection begins with, where it `encrypts`."""
        assert self._pair is not None
        return self._pair.context

    @property
    def refused_files(self) -> list[str]:
        """What is wrong with files that were not taken: sentences."""
        return [why for why in (self._pair_files.why, self._token_files.why) if why]

    def why_not(self, authorization: str) -> str:
        """One of CAUSES; "" for whoever may ask."""
        if self._tokens is None:
            return ""
        scheme, _blank, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return "no-token"
        return "" if self._tokens.has(token.strip()) else "wrong-token"

    def refuse(self, cause: str, who: str) -> None:
        """Count it; who is an IP address."""
        with self._lock:
            self._cells[ADMIN_REFUSED[cause]] += 1
            self._refused[cause] = self._refused.get(cause, (0, ""))[0] + 1, who

    def run(self) -> None:
        """Look at the files and tell of those who were refused, for ever: the body of a thread."""
        while True:
            time.sleep(LOOK_SECONDS)
            if self._pair_files.changed():
                self._take_pair()
            if self._token_files.changed():
                self._take_tokens()
            self._tell(time.monotonic())

    def _take_pair(self) -> None:
        certificate, key = self._config.admin_tls_certificate, self._config.admin_tls_key
        if self._pair is None:
            return
        try:
            pair = read_key_pair(certificate, key or certificate)
            # Where both are over, the new one is no worse.
            if (why := pair.why_not(time.time())) and not self._pair.why_not(time.time()):
                raise ValueError(f"{certificate}: {why}")
        except ValueError as error:
            self._pair_files.why = self._kept(f"{CERTIFICATE}: {error}")
            return
        renewed, self._pair, self._pair_files.why = pair.expires != self._pair.expires, pair, ""
        self._cells[ADMIN_CERTIFICATE] = int(pair.expires)
        if renewed:
            self._say(f"{CERTIFICATE}: a new one is in force, which ends at {timestamp(pair.expires)}")

    def _take_tokens(self) -> None:
        if self._tokens is None:
            return
        try:
            tokens = Tokens(read_tokens(self._config.admin_token_file))
        except ValueError as error:
            self._token_files.why = self._kept(f"{TOKENS}: {error}")
            return
        changed, self._tokens, self._token_files.why = not tokens.same_as(self._tokens), tokens, ""
        if changed:
            self._say(f"{TOKENS}: the tokens in it are in force now")

    def _kept(self, why: str) -> str:
        self._log.event(Event.WRONG_CONFIGURATION, f"{why}; what was in force stays")
        return why

    def _say(self, message: str) -> None:
        self._log.event(Event.INFORMATION, message)

    def _tell(self, now: float) -> None:
        """Of each cause at once, and then a line a minute at most."""
        for cause, said in CAUSES.items():
            if now - self._told_at.get(cause, float("-inf")) < TELL_SECONDS:
                continue
            with self._lock:
                count, who = self._refused.pop(cause, (0, ""))
            if not count:
                continue
            self._told_at[cause] = now
            others = f", and {count - 1} more since the last line" if count > 1 else ""
            message = f"admin-address: refused {who}, who {said}{others}"
            self._log.event(Event.INFORMATION, message, level=logging.WARNING, count=count)


class Guarded:
    """An app to which only those come who may ask; health and readiness are for everybody."""

    def __init__(self, app: Callable[..., Iterable[bytes]], guard: Guard) -> None:
        self._app = app
        self._guard = guard

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        cause = "" if environ["PATH_INFO"] in OPEN else self._guard.why_not(environ.get("HTTP_AUTHORIZATION", ""))
        if not cause:
            return self._app(environ, start_response)
        self._guard.refuse(cause, environ.get("REMOTE_ADDR", "?"))
        error = ', error="invalid_token"' if cause == "wrong-token" else ""
        answer = text_of(401, ANSWERS[cause])._replace(more=(("WWW-Authenticate", f'Bearer realm="ogw"{error}'),))
        return answer.given(environ, start_response)
