"""The admin process' WSGI app: which path shows what, over which socket, to whom.

Over TCP there are metrics, health and readiness, and only where admin-page says so what the page shows; whoever may
open the unix socket may see everything. What changes anything is a POST, and only there. health-address has nothing but
health and readiness: it is for those who must not see more.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

from ogw.service.admin.origins import beaten_in, file_read
from ogw.service.admin.page import POLICY, rendered
from ogw.service.admin.shapes import Changed, Killed, Reloaded
from ogw.service.admin.views import Asker, Views
from ogw.service.messages import DrainNow, KillTunnel, NoteChange, ReloadNow

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
STATUS = {
    200: "200 OK",
    400: "400 Bad Request",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    421: "421 Misdirected Request",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}
RELOAD_SECONDS = 60.0  # that whoever asked for a reload waits for it; a worker that hangs is found in half of it
LARGEST_CHANGE, MOST_CHANGES = 1 << 16, 100  # bytes, and texts in each list
MOST_WAITING = 6  # fewer than there are threads: whoever asks for health never waits for those who ask the supervisor
NOT_SHOWN = "shown here only with admin-page = yes; without it, ask the socket in run-dir, as ogw status does"

Response = tuple[int, str, bytes]  # status, media type, body


class App:
    """One socket's.

    is_local  it is the unix socket
    page      admin-page: what the page shows is shown over TCP, too
    report    what to do with an error of our own
    """

    def __init__(
        self, views: Views, supervisor: Asker, is_local: bool, page: bool, report: Callable[[Exception], None]
    ):
        self._views = views
        self._supervisor = supervisor
        self._is_local = is_local
        self._report = report
        self._open: dict[str, Callable[[dict[str, str], dict[str, Any]], Response]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._shown: dict[str, Callable[[dict[str, str], dict[str, Any]], Response]] = {
            "/": self._page,
            "/status": lambda query, environ: _json(views.status()),
            "/tunnels": self._tunnels,
            "/config": lambda query, environ: _json(views.config()),
        }
        self._local: dict[str, Callable[[dict[str, str], dict[str, Any]], Response]] = {
            "/refusals": lambda query, environ: _json(views.refusals()),
        }
        self._shows = is_local or page
        self._may_wait = threading.BoundedSemaphore(MOST_WAITING)
        self._changing: dict[str, Callable[[dict[str, str], dict[str, Any]], Response]] = {
            "/reload": self._reload,
            "/drain": lambda query, environ: _json(supervisor.ask(DrainNow())),
            "/changed": self._changed,
            "/kill": self._kill,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        waits = environ["PATH_INFO"] not in self._open
        if waits and not self._may_wait.acquire(blocking=False):
            return _answered(
                environ, start_response, _text(503, "too many ask at the same time; ask again in a moment")
            )
        try:
            answer = self._answer(environ)
        except (OSError, TimeoutError) as error:
            answer = _text(503, str(error) or "the supervisor is gone")
        except Exception as error:
            self._report(error)
            answer = _text(500, "an error of the gateway itself; its log says more (event 400)")
        finally:
            if waits:
                self._may_wait.release()
        allowed = "POST" if environ["PATH_INFO"] in self._changing else "GET, HEAD"
        return _answered(environ, start_response, answer, allowed)

    def _answer(self, environ: dict[str, Any]) -> Response:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        if path in self._changing and self._is_local:
            if method != "POST":
                return _text(405, "this changes something: POST it")
            return self._changing[path](query, environ)
        view = self._open.get(path) or self._shown.get(path) or (self._local.get(path) if self._is_local else None)
        if view is None:
            return _text(404, f"there is nothing here; there is {', '.join(self._paths())}")
        if method not in ("GET", "HEAD"):
            return _text(405, "this is read-only")
        if path in self._shown and not self._shows:
            return _text(404, NOT_SHOWN)
        if path in self._shown and not self._is_local and not is_own_name(environ.get("HTTP_HOST", "")):
            return _text(421, "ask for this page by an IP address, localhost, or the name of this machine")
        return view(query, environ)

    def _paths(self) -> list[str]:
        local = (*self._local, *self._changing) if self._is_local else ()
        return [*self._open, *(self._shown if self._shows else ()), *local]

    def _metrics(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        body, media_type = self._views.exposition(environ.get("HTTP_ACCEPT", ""))
        return 200, media_type, body

    def _healthz(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        return _healthy(self._views)

    def _readyz(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        return _ready(self._views)

    def _page(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        return 200, HTML, rendered(self._views.status(), self._views.points()).encode()

    def _tunnels(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        most = query.get("most", "1000")
        if not (most.isascii() and most.isdigit()):
            return _text(400, "most is a number")
        return _json(self._views.tunnels(query.get("client", ""), query.get("target", ""), int(most[:9])))

    def _reload(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        answer = self._reloaded()
        return _json(answer, 409 if answer["mistakes"] else 200)

    def _reloaded(self) -> Reloaded:
        try:
            answer = self._supervisor.ask(ReloadNow(), RELOAD_SECONDS)
        except TimeoutError:
            told = f"the reload goes on after {RELOAD_SECONDS:g} s; the log tells what comes of it (event 109 or 401)"
            return {"mistakes": [told], "changed": [], "policy": self._views.policy, "running": True}
        return {"mistakes": answer["mistakes"], "changed": answer["changed"], "policy": answer["policy"]}

    def _kill(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        asked = self._supervisor.ask(KillTunnel(query.get("tunnel", "")))
        answer: Killed = {"killed": any(one["killed"] for one in asked["answers"])}
        return _json(answer, 200 if answer["killed"] else 404)

    def _changed(self, query: dict[str, str], environ: dict[str, Any]) -> Response:
        """Somebody changed the INI file with a command: a line of the log says who and what, and a reload takes it.

        Without a body nothing was changed, and nothing is logged.
        """
        file, body = query.get("file", ""), environ["wsgi.input"].read(LARGEST_CHANGE)
        if not file:
            return _text(400, "name the file: /changed?file=PATH")
        if body:
            try:
                change = _change_of(body, file)
            except (ValueError, KeyError, TypeError):
                return _text(400, "not a change as the commands tell it")
            self._supervisor.ask(NoteChange(change))
        reload = self._reloaded() if query.get("reload") == "1" else None
        try:
            settings = self._views.config()["settings"]
            reads, beaten = file_read(settings, file), beaten_in(settings)
        except OSError:  # the supervisor is busy: what was done was done, and nothing is said against the file
            reads, beaten = file, {}
        answer: Changed = {"reads": reads, "beaten": beaten, "reload": reload}
        return _json(answer)


class Health:
    """health-address: whether the gateway lives, and whether clients should be sent here; nothing else is there."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._paths = {"/healthz": _healthy, "/readyz": _ready}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        view = self._paths.get(environ["PATH_INFO"])
        if view is None:
            answer = _text(404, "there is nothing here; there is /healthz, /readyz")
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            answer = _text(405, "this is read-only")
        else:
            answer = view(self._views)
        return _answered(environ, start_response, answer)


def _healthy(views: Views) -> Response:
    why = views.not_alive()
    return _text(503, why) if why else _text(200, "ok")


def _ready(views: Views) -> Response:
    why = views.not_alive() or views.not_ready()
    return _text(503, why) if why else _text(200, "ok")


def _answered(
    environ: dict[str, Any], start_response: Callable[..., Any], answer: Response, allowed: str = "GET, HEAD"
) -> Iterable[bytes]:
    status, media_type, body = answer
    headers = [
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if media_type == HTML:
        headers += [("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer")]
    if status == 405:
        headers.append(("Allow", allowed))
    start_response(STATUS[status], headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _change_of(body: bytes, file: str) -> dict[str, Any]:
    """The fields of the line. Raises ValueError, KeyError or TypeError."""
    told = json.loads(body)
    texts = {name: _short(told[name]) for name in ("by", "old_policy", "new_policy")}
    lists = {name: [_short(text) for text in told[name][:MOST_CHANGES]] for name in ("added", "removed")}
    return {"by": texts.pop("by"), "file": _short(file), **texts, **lists}


def _short(text: Any) -> Any:
    """A text of a change as it may stand in the log; None stays."""
    if text is not None and not isinstance(text, str):
        raise TypeError
    return text and text[:300]


def is_own_name(host: str) -> bool:
    """Whether a Host header cannot be that of a stranger's site whose name was bent to our address (DNS rebinding)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name and name in ("localhost", socket.gethostname().lower()):
        return True
    return _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _json(value: Any, status: int = 200) -> Response:
    return status, JSON, json.dumps(value).encode() + b"\n"


def _text(status: int, text: str) -> Response:
    return status, TEXT, text.encode() + b"\n"
