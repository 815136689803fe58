"""``fleetctl doctor``: checks of the machine, the store and DDS.

Settings come in; findings go out, each with a level and a hint about what to do.
"""
