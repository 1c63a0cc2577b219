"""What happened: events, log lines, and the table of counters."""
