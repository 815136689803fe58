"""Chance of one run: independent streams of random numbers, told apart by name."""

from __future__ import annotations

from random import Random


class Chance:
    """Streams of chance. Each depends on ``seed`` and its own name only.

    Parts that draw from different streams therefore do not change each other's draws, nor does a new part or fault.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._streams: dict[tuple[str, ...], Random] = {}

    def of(self, *name: str) -> Random:
        """Return the stream of this name. It continues where its last draw ended."""
        stream = self._streams.get(name)
        if stream is None:
            # A string seeds through SHA-512, which is the same in every process, unlike ``hash``.
            stream = self._streams[name] = Random("/".join((self._seed, *name)))
        return stream
