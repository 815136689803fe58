"""Shell completion of ids: the options that support it, and the look-up in the running fleet.

The beginning of a word comes in; matching ids go out within a second. If the fleet cannot be reached, there are none.
"""
