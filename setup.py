"""What is installed as ogw, and what for."""

import pathlib
import re
import sys

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent
MATCH = re.search(r'^__version__ = "(.+)"$', (HERE / "ogw" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
assert MATCH is not None, "ogw/__init__.py has no __version__"

sys.path.insert(0, str(HERE / "tools"))


class WithCatalogs(build_py):  # type: ignore[misc,unused-ignore]
    """Also what ogw reads of its translations."""

    def run(self) -> None:
        from translating.compiling import compile_stale

        compile_stale()
        super().run()


# Both are imported only where the settings ask for them. There is gssapi as source alone, which needs a compiler and
# libkrb5-dev; Debian's python3-gssapi is the same.
NTLM = ["pyspnego>=0.10"]
KERBEROS = ["gssapi>=1.8", *NTLM]
TEST = [
    "PyYAML>=6",
    "hypothesis>=6.100",
    "pexpect>=4.9",
    "jsonschema>=4.18",
    "kubernetes-validate>=1.33",
    "pyspnego>=0.10",
    "pyte>=0.8",
    "pytest>=8",
    "pytest-benchmark>=4",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "requests>=2.31",
    "selenium>=4.20",
    "trustme>=1.1",
]

setup(
    name="ogw",
    version=MATCH[1],
    description="A CONNECT-only gateway for machines that may not reach the internet",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["ogw", "ogw.*"]),
    package_data={
        "ogw.cli.setup": ["ogw.service"],
        "ogw.language": ["catalogs/*.mo"],
        "ogw.service.admin": ["page.html", "page.css", "page.js"],
        "ogw.settings.elsewhere.presets": ["*.json"],
    },
    cmdclass={"build_py": WithCatalogs},
    python_requires=">=3.11",
    install_requires=[
        "Babel>=2.10",
        "ConfigArgParse>=1.7",
        "cryptography>=41",
        "gevent>=24.2",
        "prometheus-client>=0.20",
        "python-json-logger>=3.3",
        "rich>=13",
        "setproctitle>=1.3",
        "shtab>=1.7",
        "waitress>=3",
    ],
    extras_require={"kerberos": KERBEROS, "ntlm": NTLM, "test": TEST},
    entry_points={"console_scripts": ["ogw = ogw.cli.main:main"]},
)
