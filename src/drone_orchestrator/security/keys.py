"""Shared signature keys by id. Several are valid at a time, so that a key can be replaced while orders arrive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

#: Half of the hash's output; shorter keys are guessable. The full length is better.
MIN_KEY_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class InvalidKeys(ValueError):
    """Unusable keys. The text is one line that never contains a key."""


class KeyRing:
    """Keys by id. Its ``repr`` shows the ids only."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Raises :class:`InvalidKeys`."""
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise InvalidKeys(f"key id {key_id!r}: must be at most 64 letters, digits, '.', '_' or '-'")
            if len(key) < MIN_KEY_BYTES:
                raise InvalidKeys(f"key {key_id}: must have at least {MIN_KEY_BYTES} bytes, got {len(key)}")
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._keys)) or 'empty'})"

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: str) -> bytes | None:
        """Return the key with this id, ``None`` if there is none."""
        return self._keys.get(key_id)


def parse_keys(text: str, where: str) -> KeyRing:
    """Parse keys as ``id:hex``, one per line or separated by commas; ``#`` begins a comment. ``where`` is for errors.

    Raises :class:`InvalidKeys`.
    """
    keys: dict[str, bytes] = {}
    entries = [entry.strip() for line in text.splitlines() for entry in line.split("#")[0].split(",")]
    for number, entry in enumerate(filter(None, entries), start=1):
        key_id, colon, secret = entry.partition(":")
        if not colon:
            raise InvalidKeys(f"{where}: entry {number} is not id:hex")
        if key_id in keys:
            raise InvalidKeys(f"{where}: key {key_id} is given twice")
        try:
            keys[key_id] = bytes.fromhex(secret)
        except ValueError:
            raise InvalidKeys(f"{where}: key {key_id} is not hexadecimal") from None
    try:
        return KeyRing(keys)
    except InvalidKeys as error:
        raise InvalidKeys(f"{where}: {error}") from None


def read_keys(path: str | Path) -> KeyRing:
    """Read the keys of a file, see :func:`parse_keys`. Raises :class:`InvalidKeys`, also for an unreadable file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeys(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}") from None
    return parse_keys(text, str(path))
