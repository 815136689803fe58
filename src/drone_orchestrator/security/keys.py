"""Shared signature keys by id. Several are valid at a time, so that a key can be replaced while orders arrive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

#: Half of the hash's output; shorter keys are guessable. The full length is better.
MIN_KEY_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEX = re.compile(r"([0-9A-Fa-f]{2})*")


class InvalidKeys(ValueError):
    """Unusable keys. The text is one line that never contains a key."""


class KeyRing:
    """Keys by id. Its ``repr`` shows the ids only."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Raises :class:`InvalidKeys`."""
        for key_id, key in keys.items():
            problem = _problem(key_id, key)
            if problem:
                raise InvalidKeys(problem)
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._keys)) or 'empty'})"

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: str) -> bytes | None:
        """Return the key with this id, ``None`` if there is none."""
        return self._keys.get(key_id)


def parse_keys(text: str, where: str) -> KeyRing:
    """Return keys given as ``id:hex``, one a line or separated by commas; ``#`` begins a comment.

    ``where`` names the source in errors, which say the line and show no part of an entry: id and key may be swapped.
    Raises :class:`InvalidKeys`.
    """
    keys: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for entry in filter(None, map(str.strip, line.split("#")[0].split(","))):
            key_id, colon, secret = entry.partition(":")
            problem = None if colon and _HEX.fullmatch(secret) else "must be id:hex, with two hexadecimal digits a byte"
            problem = problem or _problem(key_id, bytes.fromhex(secret))
            if key_id in keys:
                problem = f"the id of a key must be unique, is in line {lines[key_id]} already"
            if problem:
                raise InvalidKeys(f"{where}:{number}: {problem}")
            keys[key_id], lines[key_id] = bytes.fromhex(secret), number
    return KeyRing(keys)


def read_keys(path: str | Path) -> KeyRing:
    """Return the keys of a file, see :func:`parse_keys`. Raises :class:`InvalidKeys`, also for a file without any."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidKeys(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidKeys(f"{path}:{line}: must be UTF-8 text") from None
    keys = parse_keys(text, str(path))
    if not keys:
        raise InvalidKeys(f"{path}: must have at least one key")
    return keys


def _problem(key_id: str, key: bytes) -> str | None:
    """Return why a key cannot be used, if so."""
    if not _KEY_ID.fullmatch(key_id):
        return "the id of a key must be of letters, digits, '.', '_' and '-', at most 64"
    if len(key) < MIN_KEY_BYTES:
        return f"a key must have at least {MIN_KEY_BYTES} bytes, got {len(key)}"
    return None
