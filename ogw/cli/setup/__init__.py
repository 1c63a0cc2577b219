"""The command that sets a gateway up: questions, a plan, and its steps."""
