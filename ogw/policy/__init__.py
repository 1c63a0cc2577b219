"""What may pass; pure, values in, Decision out."""
