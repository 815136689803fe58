"""A whole region in one thread and in virtual time, with faults that a seed decides.

Core, drivers, planner and drone machines are those of production; everything else is simulated. The same seed gives the
same run on every machine. ``docs/simulation.md`` lists the parts and says how to add a fault.
"""
