"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """Error that ends a request with a problem document.

    ``code`` is for programs, ``detail`` for people, ``field`` names the wrong part of the request.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str = "",
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
        self.more = dict(more or {})

    def response(self) -> JSONResponse:
        body = {
            "type": f"urn:drone-orchestrator:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "field": self.field or None,
            "code": self.code,
            **self.more,
        }
        return JSONResponse(body, self.status, headers=self.headers, media_type=CONTENT_TYPE)
