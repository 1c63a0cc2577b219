"""The admin process' WSGI apps: which path shows what, over which socket, to whom.

Over TCP there are metrics, health and readiness, and only where admin-page says so what the page shows; whoever may
open the unix socket may see everything. What changes anything is a POST, and only there. health-address has nothing but
health and readiness: it is for those who must not see more.
"""

import os
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, quote

from ogw.language.accepted import accepted
from ogw.language.known import ENGLISH, LANGUAGES
from ogw.language.messages import speaking
from ogw.report.recent import TUNNEL_ID
from ogw.report.status import ABSENT_HEADER, CONFIG_HEADER, PROTOCOL, PROTOCOL_HEADER
from ogw.service.admin.orders import Orders
from ogw.service.admin.page import NONE_OPEN, rendered
from ogw.service.admin.response import HTML, Response, json_of, text_of
from ogw.service.admin.server import LARGEST_BODY
from ogw.service.admin.views import Asker, Views
from ogw.service.answers import MOST_TUNNELS
from ogw.service.messages import TakeBack, TakeOut

MOST_WAITING = 6  # fewer than there are threads: whoever asks for health never waits for those who ask the supervisor
NOT_SHOWN = "shown here only with admin-page = yes; without it, ask the socket in run-dir, as ogw status does"
NOT_ITS_NAME = "ask by an IP address, localhost, the name of this machine, or a name of the setting admin-name"

Query = dict[str, str]
Environ = dict[str, Any]
Answers = dict[str, Callable[[Query, Environ], Response]]  # by path


class App:
    """One socket's.

    is_local  it is the unix socket
    page      admin-page: what the page shows is shown over TCP, too
    names     admin-name: and under which names, beside the machine's own
    report    what to do with an error of our own
    usual     the page's language for whoever asks for none
    """

    def __init__(
        self,
        views: Views,
        supervisor: Asker,
        is_local: bool,
        page: bool,
        names: Collection[str],
        report: Callable[[Exception], None],
        usual: str = ENGLISH,
    ) -> None:
        self._views = views
        self._orders = orders = Orders(views, supervisor)
        self._is_local = is_local
        told = [(PROTOCOL_HEADER, str(PROTOCOL)), (CONFIG_HEADER, quote(os.fsencode(views.file)))]
        self._headers = told if is_local else []
        self._shows = is_local or page
        self._names = names
        self._usual = usual
        self._report = report
        self._may_wait = threading.BoundedSemaphore(MOST_WAITING)
        self._open: Answers = {  # to everybody
            "/metrics": self._metrics,
            "/healthz": lambda query, environ: _healthy(views),
            "/readyz": lambda query, environ: _ready(views),
        }
        self._shown: Answers = {  # with admin-page
            "/": self._page,
            "/status": self._status,
            "/tunnels": self._tunnels,
            "/config": lambda query, environ: json_of(views.config()),
        }
        self._local: Answers = {
            "/refusals": lambda query, environ: json_of(views.refusals()),
            "/tunnel": self._tunnel,
            "/sources": lambda query, environ: json_of(views.sources()),
        }
        self._changing: Answers = {
            "/reload": lambda query, environ: orders.reload(),
            "/drain": lambda query, environ: orders.drain(),
            "/take-out": lambda query, environ: orders.take(TakeOut(query.get("by", ""))),
            "/take-back": lambda query, environ: orders.take(TakeBack(query.get("by", ""))),
            "/upgrade": lambda query, environ: orders.upgrade(query.get("now") == "1"),
            "/changed": self._changed,
            "/roll-back": lambda query, environ: orders.roll_back(
                query.get("source", ""), query.get("undo") == "1", query.get("by", "")
            ),
            "/kill": lambda query, environ: orders.kill(query.get("tunnel", "")),
        }

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        waits = environ["PATH_INFO"] not in self._open
        if waits and not self._may_wait.acquire(blocking=False):
            busy = text_of(503, "too many ask at the same time; ask again in a moment")
            return busy.given(environ, start_response, self._headers)
        try:
            response = self._response(environ)
        except OSError as error:
            response = text_of(503, str(error) or "the supervisor is gone")
        except Exception as error:
            self._report(error)
            response = text_of(500, "an error of the gateway itself; its log says more (event 400)")
        finally:
            if waits:
                self._may_wait.release()
        return response.given(environ, start_response, self._headers)

    def _response(self, environ: Environ) -> Response:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method == "CONNECT":
            return _other_door(self._views)
        query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        if path in self._changing and self._is_local:
            if method != "POST":
                return text_of(405, "this changes something: POST it")._replace(allow="POST")
            return self._changing[path](query, environ)
        view = self._open.get(path) or self._shown.get(path) or (self._local.get(path) if self._is_local else None)
        if view is None:
            return text_of(404, f"there is nothing here; there is {', '.join(self._paths())}")
        if method not in ("GET", "HEAD"):
            return text_of(405, "this is read-only")
        if path in self._shown and not self._shows:
            return text_of(404, NOT_SHOWN)
        if path in self._shown and not self._is_local and not is_own_name(environ.get("HTTP_HOST", ""), self._names):
            return text_of(421, NOT_ITS_NAME)
        return view(query, environ)

    def _paths(self) -> list[str]:
        local = (*self._local, *self._changing) if self._is_local else ()
        return [*self._open, *(self._shown if self._shows else ()), *local]

    def _metrics(self, query: Query, environ: Environ) -> Response:
        body, media_type = self._views.exposition(environ.get("HTTP_ACCEPT", ""))
        return Response(200, media_type, body)

    def _page(self, query: Query, environ: Environ) -> Response:
        """In the language of its switch, else the browser's, else that of the settings."""
        views = self._views
        with speaking(_asked(query) or accepted(environ.get("HTTP_ACCEPT_LANGUAGE", "")) or self._usual):
            status = views.status()
            # Who did not answer just now would keep the page waiting once more.
            tunnels = NONE_OPEN if status["workers_missing"] else views.longest_open()
            return Response(200, HTML, rendered(status, views.points(), tunnels).encode())

    def _status(self, query: Query, environ: Environ) -> Response:
        """In English, as programs read it; but the page's script says which language it shows."""
        with speaking(_asked(query)):
            return json_of(self._views.status())

    def _tunnels(self, query: Query, environ: Environ) -> Response:
        most = query.get("most", str(MOST_TUNNELS))
        if not (most.isascii() and most.isdigit()):
            return text_of(400, "most is a number")
        client, target, text = (query.get(name, "") for name in ("client", "target", "text"))
        return json_of(self._views.tunnels(client, target, int(most[:9]), text))

    def _tunnel(self, query: Query, environ: Environ) -> Response:
        tunnel = query.get("id", "")
        if not TUNNEL_ID.match(tunnel):
            return text_of(400, "name a tunnel by its id, such as /tunnel?id=3fa1c2-17")
        found = self._views.tunnel(tunnel)
        return json_of(found, 200 if found["open"] or found["refusals"] else 404)

    def _changed(self, query: Query, environ: Environ) -> Response:
        body = environ["wsgi.input"].read(LARGEST_BODY)
        return self._orders.changed(query.get("file", ""), body, query.get("reload") == "1")


class Health:
    """health-address: whether the gateway lives, and whether clients should be sent here; nothing else is there."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._paths = {"/healthz": _healthy, "/readyz": _ready}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        view = self._paths.get(environ["PATH_INFO"])
        if environ["REQUEST_METHOD"] == "CONNECT":
            response = _other_door(self._views)
        elif view is None:
            response = text_of(404, "there is nothing here; there is /healthz, /readyz")
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            response = text_of(405, "this is read-only")
        else:
            response = view(self._views)
        return response.given(environ, start_response)


def _asked(query: Query) -> str:
    """The language that is asked for by its name; "" for none."""
    return name if (name := query.get("language", "")) in LANGUAGES else ""


def _other_door(views: Views) -> Response:
    """To a client that was given the wrong port."""
    return text_of(405, f"this is no proxy, but where the gateway is asked how it fares: CONNECT to its own port, "
                        f"which is that of {', '.join(views.listen)}")  # fmt: skip


def _healthy(views: Views) -> Response:
    why = views.not_alive()
    return text_of(503, why) if why else text_of(200, "ok")


def _ready(views: Views) -> Response:
    why = views.not_ready()
    if not why:
        views.tell_ready()
    answer = text_of(503, why) if why else text_of(200, "ok")
    absent = views.absent()
    return answer._replace(more=((ABSENT_HEADER, ", ".join(absent)),)) if absent else answer


def is_own_name(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header cannot be that of a stranger's site whose name was bent to our address (DNS rebinding).

    names  what the operator calls the gateway, in lower case and without final dots
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower().removesuffix(".")
    if name and name in ("localhost", socket.gethostname().lower(), *names):
        return True
    return _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
