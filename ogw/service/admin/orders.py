"""What the admin process has done for whoever may open the unix socket; each is a POST."""

import json
from typing import Any, Union

from ogw.report.log import timestamp
from ogw.service.admin.origins import beaten_in, file_read, own_of
from ogw.service.admin.response import Response, json_of, text_of
from ogw.service.admin.shapes import Changed, Killed, Reloaded, RolledBack, Taken, Upgraded
from ogw.service.admin.views import Asker, Views
from ogw.service.messages import DrainNow, KillTunnel, NoteChange, ReloadNow, RollBack, TakeBack, TakeOut, UpgradeNow

RELOAD_SECONDS = 60.0  # that whoever asked for a reload waits for it; a worker that hangs is found in half of it
UPGRADE_SECONDS = 120.0  # and for an upgrade: the successor is given up before that
MOST_CHANGES, LONGEST_CHANGE = 100, 300  # texts in each list of a change; characters of each


class Orders:
    """Given to the supervisor, and what came of them. All raise OSError where it is gone, or does not answer."""

    def __init__(self, views: Views, supervisor: Asker) -> None:
        self._views = views
        self._supervisor = supervisor

    def drain(self) -> Response:
        """As SIGTERM does."""
        return json_of(self._supervisor.ask(DrainNow()))

    def kill(self, tunnel: str) -> Response:
        """End the tunnel with this id."""
        asked = self._supervisor.ask(KillTunnel(tunnel))
        killed = any(one["killed"] for one in asked["answers"])
        answer: Killed = {"killed": killed, "workers_missing": 0 if killed else asked["missing"]}
        return json_of(answer, 200 if answer["killed"] else 404)

    def take(self, order: Union[TakeOut, TakeBack]) -> Response:
        """Out of whatever sends clients here, or back."""
        asked = self._supervisor.ask(order._replace(by=order.by[:LONGEST_CHANGE]))
        since = asked["since"]
        answer: Taken = {"why": asked["why"], "since": timestamp(since) if since else None}
        return json_of(answer, 409 if answer["why"] else 200)

    def upgrade(self, now: bool) -> Response:
        """As SIGUSR2 does; with `now`, what the upgrade before has left open is ended first."""
        try:
            asked = self._supervisor.ask(UpgradeNow(now), UPGRADE_SECONDS)
        except TimeoutError:
            told = f"it goes on after {UPGRADE_SECONDS:g} s; the log tells what comes of it (event 113 or 406)"
            asked = {"why": told, "version": "", "pid": 0, "tunnels": 0}
        answer: Upgraded = {name: asked[name] for name in ("why", "version", "pid", "tunnels")}  # type: ignore[assignment]
        if "flags" in asked:
            answer["flags"] = asked["flags"]
        return json_of(answer, 409 if answer["why"] else 200)

    def reload(self) -> Response:
        """As SIGHUP does."""
        answer = self._reloaded()
        return json_of(answer, 409 if answer["mistakes"] else 200)

    def _reloaded(self) -> Reloaded:
        try:
            answer = self._supervisor.ask(ReloadNow(), RELOAD_SECONDS)
        except TimeoutError:
            told = f"the reload goes on after {RELOAD_SECONDS:g} s; the log tells what comes of it (event 109 or 401)"
            return {"mistakes": [told], "changed": [], "policy": self._views.policy, "running": True}
        return {
            "mistakes": answer["mistakes"],
            "changed": answer["changed"],
            "policy": answer["policy"],
            "restart": answer.get("restart", []),
        }

    def roll_back(self, source: str, undo: bool, by: str) -> Response:
        """A list that is kept of a URL, or undo that; a reload takes it."""
        try:
            asked = self._supervisor.ask(RollBack(source, undo, by[:LONGEST_CHANGE]), RELOAD_SECONDS)
        except TimeoutError:
            told = f"the reload goes on after {RELOAD_SECONDS:g} s; the log tells what comes of it (event 109 or 401)"
            asked = {"mistakes": [told], "running": True}
        answer: RolledBack = {"why": asked.get("why", ""), "mistakes": asked.get("mistakes", [])}
        if "running" in asked:
            answer["running"] = True
        return json_of(answer, 409 if answer["why"] or answer["mistakes"] else 200)

    def changed(self, file: str, body: bytes, reload: bool) -> Response:
        """Somebody changed an INI file with a command: a line of the log says who and what, and a reload takes it.

        file  its real path
        body  who changed what, as JSON; without it nothing was changed, and nothing is logged
        """
        if not file:
            return text_of(400, "name the file: /changed?file=PATH")
        if body:
            try:
                change = _change_of(body, file)
            except (ValueError, KeyError, TypeError, RecursionError):
                return text_of(400, "not a change as the commands tell it")
            self._supervisor.ask(NoteChange(change))
        reloaded = self._reloaded() if reload else None
        try:
            settings = self._views.config()["settings"]
        except OSError:  # the supervisor is busy: what was done was done, and nothing is said against the file
            silent: Changed = {"reads": file, "beaten": {}, "reload": reloaded}
            return json_of(silent)
        reads, beaten, own = file_read(settings, file, self._views.file), beaten_in(settings), own_of(settings)
        watches = any(given["value"] == "yes" for given in settings.get("reload-on-change", ()))
        answer: Changed = {"reads": reads, "beaten": beaten, "own": own, "watches": watches, "reload": reloaded}
        return json_of(answer)


def _change_of(body: bytes, file: str) -> dict[str, Any]:
    """The fields of the line. Raises ValueError, KeyError, TypeError or RecursionError."""
    told = json.loads(body)
    old, new = _short(told["old_policy"]), _short(told["new_policy"])
    lists = {name: [_short(text) for text in told[name][:MOST_CHANGES]] for name in ("added", "removed")}
    return {"by": _short(told["by"]), "file": _short(file), "old_policy": old, "new_policy": new, **lists}


def _short(text: Any) -> Any:
    """As it may stand in the log; None stays. Raises TypeError."""
    if text is not None and not isinstance(text, str):
        raise TypeError
    return text and text[:LONGEST_CHANGE]
