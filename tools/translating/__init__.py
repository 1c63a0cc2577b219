"""The parts of tools/catalogs.py, which keeps what ogw says in other languages."""
