"""From the bytes of a request to a JSON object, refusing what JSON readers let pass in silence."""

from __future__ import annotations

import json
from typing import Any

from .problems import Problem


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``. Raises :class:`Problem`.

    Stricter than ``json.loads``: UTF-8 only, no key twice (readers differ on which one counts), no half surrogate pairs
    (they could not be stored). The nesting is bounded by the interpreter's own limit. ``NaN`` and ``Infinity`` are let
    through: admission refuses them as it does ``1e999``, and can name the field.
    """
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
        if b"\\u" in raw:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid("not_utf8", f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError:
        raise _invalid("not_unicode", "a string has half of a surrogate pair") from None
    except RecursionError:
        raise _invalid("too_deep", "the body is nested too deeply") from None
    except ValueError as error:
        raise _invalid("not_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("not_an_object", "the body must be a JSON object")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _invalid("duplicate_key", f"the key {_first_repeated(pairs)!a} is there twice")
    return document


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("no key is there twice")


def _invalid(code: str, detail: str) -> Problem:
    return Problem(422, code, detail)
