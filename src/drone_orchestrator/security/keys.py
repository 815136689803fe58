"""Keys that both sides of a signature hold, by id. Several at a time, so that one can be replaced as orders come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

#: As long as the hash's output would be best; shorter than half of it is guessable.
MIN_KEY_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class InvalidKeys(ValueError):
    """The keys cannot be used; the text is one line that says what is wrong, and never contains a key."""


class KeyRing:
    """Keys by id. Its ``repr`` shows the ids only."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Raises :class:`InvalidKeys`."""
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise InvalidKeys(f"key id {key_id!r}: letters, digits, '.', '_' and '-' are wanted, at most 64")
            if len(key) < MIN_KEY_BYTES:
                raise InvalidKeys(f"key {key_id}: {len(key)} bytes, at least {MIN_KEY_BYTES} are wanted")
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._keys)) or 'empty'})"

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: str) -> bytes | None:
        """The key of that id; ``None``: there is none."""
        return self._keys.get(key_id)


def parse_keys(text: str, where: str) -> KeyRing:
    """Keys as ``id:hex``, one a line or parted by commas; ``#`` begins a comment. ``where`` names the source in errors.

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
    """The keys of a file, see :func:`parse_keys`. Raises :class:`InvalidKeys`, also for a file that cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeys(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}") from None
    return parse_keys(text, str(path))
