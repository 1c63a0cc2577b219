"""Debian's Prometheus, with a configuration and the rules of conf/, made quick: what it knows, and what fires."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import yaml
from harness.gateway import ROOT, address
from harness.peers import peer

RULES = ROOT / "conf" / "prometheus" / "ogw.rules.yml"
WAITS = ("for: 2m", "for: 30m")  # of the alerts that tests wait for: they fire at once


class Prometheus:
    """Use as a context manager."""

    def __init__(self, folder, config):
        quick = {"scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms"}
        (folder / "prometheus.yml").write_text(yaml.safe_dump({**config, "global": quick}))
        rules = RULES.read_text("utf-8")
        for wait in WAITS:
            rules = rules.replace(wait, "for: 0s")
        (folder / RULES.name).write_text(rules)
        place = f"{address()}:9090"
        command = [peer("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self._url = f"http://{place}/api/v1"
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen([*command, f"--web.listen-address={place}"], stdout=output, stderr=output)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait(20)

    def asked(self, what):
        """The JSON of an answer, None while there is none."""
        try:
            with urllib.request.urlopen(f"{self._url}/{what}", timeout=5) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def value(self, query):
        """The values of a query, as texts."""
        data = self.asked(f"query?{urllib.parse.urlencode({'query': query})}")
        return [sample["value"][1] for sample in data["result"]] if data else []
