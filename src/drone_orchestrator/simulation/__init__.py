"""Simulates a whole region in one thread and in virtual time, with faults drawn from a seed.

A seed and a profile come in; a trace and the broken invariants go out. Core, drivers, planner and drone machines are
those of production; everything else is simulated. The same seed gives the same run on every machine.
``docs/simulation.md`` lists the parts and explains how to add a fault.
"""
