"""The drone: what an executor does with a goal, step by step, and what it must remember over a restart.

Events come in and effects go out (:mod:`.events`); :mod:`.machine` is the one entry, :mod:`.state` what is remembered.
"""
