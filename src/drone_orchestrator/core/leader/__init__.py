"""The leader: election, what happens to an order before and after loading, retention, breakers.

Events come in (:mod:`.events`), effects go out (:mod:`.effects`); :mod:`.orchestrator` is the one entry.
"""
