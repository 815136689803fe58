"""What the processes tell operators about themselves."""
