"""Commands that edit the configuration's files, and sign lists for it."""
