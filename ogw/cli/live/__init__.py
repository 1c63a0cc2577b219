"""Commands that speak with the running gateway."""
