"""Message ids in the one form in which they are stored and compared.

Clients write a UUID in capitals or not; both mean the same order. Every door (JSON body, ``Idempotency-Key``, path of a
URL, service, topic, ``fleetctl``) brings an id into this form before it uses it. An order id is the customer's own text
and stays as it is.
"""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a UUID in the form with four dashes, in capitals or not."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Return a UUID in small letters, and any other text unchanged."""
    return text.lower() if is_uuid(text) else text
