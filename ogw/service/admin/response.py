"""What the admin process answers over HTTP: a status, a media type and a body, with the headers that all have."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ogw.service.admin.page import POLICY

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
STATUS = {
    200: "200 OK",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    421: "421 Misdirected Request",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}


class Response(NamedTuple):
    """
    allow  the methods that a 405 names
    more   headers of its own
    """

    status: int
    media_type: str
    body: bytes
    allow: str = "GET, HEAD"
    more: tuple[tuple[str, str], ...] = ()

    def given(
        self, environ: dict[str, Any], start_response: Callable[..., Any], more: Iterable[tuple[str, str]] = ()
    ) -> Iterable[bytes]:
        """What a WSGI app gives back; a HEAD gets no body. `more` are headers of the app's."""
        headers = [
            *more,
            *self.more,
            ("Content-Type", self.media_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if self.media_type == HTML:
            headers += [("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer")]
        if self.status == 405:
            headers.append(("Allow", self.allow))
        start_response(STATUS[self.status], headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else self.body]


def json_of(value: Any, status: int = 200) -> Response:
    return Response(status, JSON, json.dumps(value).encode() + b"\n")


def text_of(status: int, text: str) -> Response:
    return Response(status, TEXT, text.encode() + b"\n")
