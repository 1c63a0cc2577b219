"""Commands that edit an INI file of a test's own, where no gateway and no system log of this machine is found."""

import json

from harness.commands import ogw


class Edited:
    """An INI file in a folder of its own, and the commands that edit it.

    log  where its changes are written while no gateway runs
    """

    def __init__(self, folder, contents=None):
        self.folder = folder
        self.path = folder / "ogw.ini"
        self.log = folder.parent / f"{folder.name}.log"
        self.log.touch()  # commands do not make the log, which would be theirs and not the gateway's
        if contents is not None:
            self.write(contents)

    def write(self, contents):
        self.path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())

    @property
    def text(self):
        return self.path.read_bytes().decode()

    def run(self, *words, **environment):
        """The command's end."""
        where = {
            "OGW_CONFIG": self.path,
            "OGW_RUN_DIR": self.folder,
            "OGW_LOG_FILE": self.log,
            "OGW_LOG_FORMAT": "json",
            "OGW_DNS_SERVER": "127.0.0.1:1",  # where nobody answers: relay proxies are asked, and names stay here
        }
        return ogw(*words, **{name: str(text) for name, text in {**where, **environment}.items()})

    def done(self, *words, code=0, **environment):
        """The same, with this exit code and no traceback: its standard output."""
        end = self.run(*words, **environment)
        assert end.returncode == code, (words, end)
        assert "Traceback" not in end.stderr
        return end.stdout

    def told(self, *words, code=0, **environment):
        """The same: its standard error."""
        end = self.run(*words, **environment)
        assert end.returncode == code, (words, end)
        assert "Traceback" not in end.stderr
        return end.stderr

    @property
    def changes(self):
        """The lines of the log, as JSON says them."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def leftovers(self):
        """New files that never took their place."""
        return [path for path in self.folder.iterdir() if path.name.startswith(".ogw-") or path.name.endswith(".new")]
