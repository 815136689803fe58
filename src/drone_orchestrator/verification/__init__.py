"""Checkers of the guarantees, one file per invariant.

A recorded history of the store, the drones' journals and the archive go in (:mod:`.records`); violations come out
(:func:`.checker.check`). The history may be real or simulated. Nothing here acts or shares code with the leader's view.
"""
