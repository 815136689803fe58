"""What the OpenAPI document says of every request alike."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from . import schemas
from .rate_limit import EXEMPT

_EVERYWHERE = {
    429: schemas.problem("This client asks too often (rate_limited): ask again after Retry-After seconds.", 429),
    500: schemas.problem("An error of the gateway, or a record in the store that cannot be read.", 500),
}


def describe(app: FastAPI) -> None:
    """Have ``app.openapi()`` tell of the answers that any request may get, and of the operator's token."""
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
    # FastAPI describes an error of its own for every request with parameters; ours are all problems.
    if responses.get("422", {}).get("description") == "Validation Error":
        responses["422"] = schemas.problem("A parameter is wrong; field names it.", 422)
