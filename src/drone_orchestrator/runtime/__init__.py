"""The driver: queue, step, effects, in one thread."""
