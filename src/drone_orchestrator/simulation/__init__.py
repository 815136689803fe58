"""A whole region in one thread and in virtual time: real core, drivers, planner and drone machines; everything else
is simulated, and goes wrong as a seed says. The same seed is the same run, anywhere."""
