"""What the bytes say; no I/O: a value, "need more", or one documented error."""
