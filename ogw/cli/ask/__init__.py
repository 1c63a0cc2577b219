"""Commands that ask and change nothing: what is configured, what would happen, what a word means."""
