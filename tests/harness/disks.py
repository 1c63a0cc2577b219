"""A disk that is full, as far as this process sees."""

import contextlib
import resource


@contextlib.contextmanager
def room_for(size):
    """No file can be made larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
