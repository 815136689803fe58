"""Parses the body of a request into a JSON object. Refuses input that most JSON readers accept silently."""

from __future__ import annotations

import json
from typing import Any

import anyio
from fastapi import Request

from .problems import Problem


async def read_object(request: Request, max_bytes: int, timeout_s: float) -> dict[str, Any]:
    """Read the JSON object in the body. Raises :class:`Problem`."""
    _check_content_type(request)
    return parse_object(await _read_body(request, max_bytes, timeout_s))


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in ``raw``. Raises :class:`Problem`.

    Stricter than ``json.loads``: UTF-8 only, no duplicate key (readers differ on which one counts), no half of a
    surrogate pair (it could not be stored). The interpreter's own limit bounds the nesting. ``NaN`` and ``Infinity``
    pass: admission refuses them as it does ``1e999``, and can name the field.
    """
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
        if b"\\u" in raw:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid("not_utf8", f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError:
        raise _invalid("not_unicode", "a string contains half of a surrogate pair") from None
    except RecursionError:
        raise _invalid("too_deep", "the body is nested too deeply") from None
    except ValueError as error:
        raise _invalid("not_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("not_an_object", "the body must be a JSON object")
    return document


def refuse_unknown_parameters(request: Request, *known: str) -> None:
    """Raise :class:`Problem` for a query parameter that is not ``known``.

    A misspelt filter would otherwise select everything, and the answer would look right.
    """
    for name in request.query_params:
        if name not in known:
            raise Problem(422, "unknown_parameter", f"known are {', '.join(known)}", field=name)


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "not_json", "Send the order with Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoded", "Send the order without Content-Encoding.")


async def _read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    too_large = Problem(413, "body_too_large", f"The body must have at most {max_bytes} bytes.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise Problem(408, "body_too_slow", "The body did not arrive in time.") from None
    return bytes(body)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _invalid("duplicate_key", f"the key {_first_repeated(pairs)!a} occurs twice")
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
