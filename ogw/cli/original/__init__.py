"""The original's cmdlets, as commands and in scripts."""
