"""What a fleet consists of, and how to run it on one machine."""
