"""An upgrade without a gap: a running supervisor hands over to its successor, which may be of another version."""
