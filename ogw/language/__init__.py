"""What people read, in their language: messages, numbers and times. Logs and answers to clients are in English."""
