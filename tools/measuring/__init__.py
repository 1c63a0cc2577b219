"""What tools/agents.py and tools/compare.py measure with: a load, the server it goes to, and what a gateway costs."""
