"""What a run is compared with: the one that was saved last. The first run of all is saved."""

import pathlib

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    given = config.option
    if not given.benchmark_only:
        return
    storage = config.rootpath / given.benchmark_storage.removeprefix("file://")
    if any(pathlib.Path(storage).glob("*/*.json")):
        given.benchmark_compare = given.benchmark_compare or True
    else:
        given.benchmark_save = given.benchmark_save or "first"
