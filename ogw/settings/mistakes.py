"""The mistakes of a configuration, each told with where it stands."""

from typing import Any, Optional

from ogw.settings.setting import DEFAULT, PREFIX


class Mistakes:
    """Those found so far.

    told   sentences
    wrong  names of settings that have a wrong value: what only follows from that is not told, too
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.wrong: set[str] = set()
        self._places: dict[str, list[tuple[str, Any]]] = {}

    def place(self, name: str, source: str, value: Any) -> None:
        """A value of a setting stands there: "--flag", "OGW_NAME", "/etc/ogw/ogw.ini:12" or "default"."""
        self._places.setdefault(name, []).append((source, value))

    def add(self, sentence: str) -> None:
        """One that says itself where it is."""
        self.told.append(sentence)

    def at(self, source: str, name: str, sentence: str) -> None:
        """One of what stands there for a setting."""
        self.wrong.add(name)
        named = source.startswith(("--", PREFIX))  # a flag or a variable says itself which setting it is
        self.told.append(f"{source}: {sentence}" if named else f"{source}: {name}: {sentence}")

    def of(self, name: str, sentence: str, value: Any = None) -> None:
        """One of a setting, or of this value of it."""
        self.wrong.add(name)
        self.near(name, f"{name}: {sentence}", value)

    def near(self, name: str, sentence: str, value: Any = None) -> None:
        """One that says itself what it is about; where it is in the INI file, `name`, or this value of it, says."""
        source = self._source(name, value)
        self.told.append(sentence if source == DEFAULT or source.startswith("--") else f"{source}: {sentence}")

    def is_given(self, name: str) -> bool:
        """Somebody set it."""
        return self._source(name, None) != DEFAULT

    def _source(self, name: str, value: Any) -> str:
        found: Optional[str] = None
        for source, one in self._places.get(name, ()):
            if found is None or value is None or one == value:
                found = source
        return found or DEFAULT
