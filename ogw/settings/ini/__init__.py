"""The INI file: its grammar, its text with places, and the file that is edited in place."""
