"""Commands that edit the configuration's files."""
