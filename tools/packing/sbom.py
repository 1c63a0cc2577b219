"""What a bundle is made of, for whoever has to answer for it: a bill of materials, in CycloneDX."""

import hashlib
import json
import pathlib
import tempfile
from typing import Any

from packing.calls import called
from packing.machines import Machine
from packing.source import Source
from packing.toolbox import pip, toolbox


def sbom(source: Source, machine: Machine, wheels: pathlib.Path) -> str:
    """JSON: of each wheel in the folder its version, licence, dependencies and hash. Raise NotBuilt."""
    with tempfile.TemporaryDirectory() as folder:
        environment, written = pathlib.Path(folder) / "environment", pathlib.Path(folder) / "sbom"
        unpack(machine, wheels, environment)
        called([toolbox(), "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON",
                "-o", written, environment], environment=source.environment())  # fmt: skip
        bom: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    add_hashes(bom, wheels)
    ours = next(one for one in bom["components"] if one["name"] == "ogw")
    bom["components"].remove(ours)
    bom["metadata"]["component"] = {**ours, "type": "application"}
    return json.dumps(bom, indent=1, sort_keys=True) + "\n"


def unpack(machine: Machine, wheels: pathlib.Path, environment: pathlib.Path) -> None:
    """Where cyclonedx-py looks: a virtual environment of this Python, with what is for the machine's in it."""
    called([toolbox(), "-m", "venv", "--without-pip", environment])
    (site,) = environment.glob("lib/python*/site-packages")
    called([*pip(toolbox()), "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--find-links", wheels,
            "--target", site, *machine.flags(), *names(wheels)])  # fmt: skip


def names(wheels: pathlib.Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in wheels.iterdir())


def add_hashes(bom: dict[str, Any], wheels: pathlib.Path) -> None:
    """Which wheel of a version it is: cyclonedx-py sees only what was unpacked."""
    files = {path.name.partition("-")[0].lower(): path for path in wheels.iterdir()}
    for component in bom["components"]:
        path = files[component["name"].replace("-", "_").replace(".", "_").lower()]
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        component["hashes"] = [{"alg": "SHA-256", "content": content}]
