"""What bundles are for: a Python, an architecture, and a C library that is not too old."""

from typing import NamedTuple

PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = 28  # 2.28, that of Debian 10 and of Red Hat's 8
OLDEST = {"x86_64": 5, "aarch64": 17}  # by architecture, the glibc of the oldest wheels there are
ALIASES = {"x86_64": ("manylinux1", "manylinux2010", "manylinux2014"), "aarch64": ("manylinux2014",)}


class Machine(NamedTuple):
    """What wheels are for."""

    python: str
    architecture: str

    def __str__(self) -> str:
        return f"py{self.python}-{self.architecture}"

    def flags(self) -> list[str]:
        """For pip, which runs on another Python, perhaps on another machine: wheels alone, and those that fit."""
        versions = [f"manylinux_2_{minor}" for minor in range(OLDEST[self.architecture], GLIBC + 1)]
        tags = [f"{tag}_{self.architecture}" for tag in (*versions, *ALIASES[self.architecture])]
        platforms = [word for tag in tags for word in ("--platform", tag)]
        return ["--only-binary=:all:", "--python-version", self.python, *platforms]


MACHINES = tuple(Machine(python, architecture) for python in PYTHONS for architecture in OLDEST)
