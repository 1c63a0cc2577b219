"""Host lists of known services, as data: one JSON file for each, read by ogw/settings/elsewhere/preset.py."""
