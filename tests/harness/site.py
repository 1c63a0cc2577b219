"""A web server over TLS with the files of a folder: what git, apt, pip and others need of theirs."""

import http.server
import ssl

from harness.upstreams import Server, server_context

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Site(Server):
    """Serves a folder under a name. Use as a context manager; `asked` has the (method, path) of all requests."""

    def __init__(self, authority, folder, *names):
        super().__init__(self._answer)
        self.folder = folder
        self.asked = []
        self._context = server_context(authority, *names, self.host)

    def _answer(self, connection):
        with self._context.wrap_socket(connection, server_side=True) as tls:
            _Files(tls, self)
            try:
                tls.unwrap()
            except (OSError, ssl.SSLError):
                pass


class _Files(http.server.SimpleHTTPRequestHandler):
    """One request."""

    def __init__(self, tls, site):
        self._asked = site.asked
        super().__init__(tls, (site.host, site.port), site, directory=str(site.folder))

    def log_message(self, *_args):
        self._asked.append((self.command, self.path))

    def guess_type(self, path):
        return MANIFEST if "/manifests/" in path else super().guess_type(path)
