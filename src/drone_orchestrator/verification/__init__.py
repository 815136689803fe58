"""Checkers of the guarantees, one file per invariant.

A history of the store, the drones' journals and the archive come in (:mod:`.records`); violations go out
(:func:`.checker.check`). The history may be real or simulated. Nothing here changes state, or shares code with the
leader's view.
"""
