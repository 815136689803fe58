"""The parts of the OpenAPI document that are common to all requests."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from . import schemas
from .rate_limit import EXEMPT

_EVERYWHERE = {
    429: schemas.problem("rate_limited: this client sends too many requests. Repeat after Retry-After seconds.", 429),
    500: schemas.problem("An error of the gateway, or a record in the store that cannot be read.", 500),
}


def describe(app: FastAPI) -> None:
    """Add the answers that every request can get, and the operator's token, to ``app.openapi()``."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _add(operation, path)
            token = {"type": "http", "scheme": "bearer", "description": "The gateway's parameter operator_token."}
            document.setdefault("components", {})["securitySchemes"] = {"operator": token}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _add(operation: dict[str, Any], path: str) -> None:
    responses = operation.setdefault("responses", {})
    for status, response in _EVERYWHERE.items():
        if status != 429 or path not in EXEMPT:
            responses.setdefault(str(status), response)
    # FastAPI describes its own error body for requests with parameters; here every error is a problem document.
    if responses.get("422", {}).get("description") == "Validation Error":
        responses["422"] = schemas.problem("A parameter is wrong; field names it.", 422)
