"""What tools/package.py builds, a file a kind; not `packaging`, which would hide the library of that name."""
