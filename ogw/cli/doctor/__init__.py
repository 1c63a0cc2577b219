"""The command that looks for what is wrong on a machine."""
