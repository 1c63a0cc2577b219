"""Real load balancers that send PROXY headers: haproxy and nginx, on addresses of their own."""

import os
import socket

from harness.gateway import read_all
from harness.peers import peer, without
from harness.relays import Proxy
from harness.waiting import until

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Haproxy(Proxy):
    """In front of a gateway, in TCP mode.

    source  from where it connects
    server  more of its line about the gateway, such as send-proxy
    """

    def __init__(self, gateway, source, server, **more):
        super().__init__(**more)
        self.source = source
        self._stats = self.folder / "stats"
        (self.folder / "haproxy.cfg").write_text(
            f"global\n  maxconn 500\n  stats socket {self._stats} level admin\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"listen clients\n  bind {self.place}\n  unique-id-format %ci:%cp_%fi:%fp_%Ts_%rt:%pid\n"
            f"  server gateway {gateway.address}:8080 source {source} {server}\n"
        )

    def command(self):
        return [peer("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]

    def _listens(self):
        return super()._listens() and self._stats.exists()  # which has its name a moment later

    def find_it_well_again(self):
        """Take the gateway for dead until as many probes as its `rise` in a row have found it well."""
        self._tell("set server clients/gateway health down")
        until(lambda: self._status() == "UP", what=self._status)

    def _status(self):
        heading, *rows = self._tell("show stat").lstrip("# ").splitlines()
        row = next(row for row in rows if row.startswith("clients,gateway,"))
        return dict(zip(heading.split(","), row.split(","), strict=False))["status"]

    def _tell(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._stats))
            sock.sendall(f"{command}\n".encode())
            return read_all(sock).decode()


class Nginx(Proxy):
    """The same with nginx' stream module, which speaks version 1."""

    def __init__(self, gateway, source, _server="", **more):
        super().__init__(**more)
        self.source = source
        (self.folder / "nginx.conf").write_text(
            f"load_module {NGINX_STREAM};\ndaemon off;\nworker_processes 1;\npid {self.folder}/pid;\n"
            f"error_log {self.folder}/error;\nevents {{ worker_connections 500; }}\n"
            f"stream {{ server {{ listen {self.place}; proxy_pass {gateway.address}:8080;\n"
            f"  proxy_bind {source}; proxy_protocol on; }} }}\n"
        )

    def command(self):
        found = peer("nginx")
        if not os.path.exists(NGINX_STREAM):
            without("nginx's stream module is not here; tools/test installs it when it runs as root on Debian")
        return [found, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def stop(self):
        self._process.terminate()  # killed, it would leave its worker behind
        self._process.wait()
