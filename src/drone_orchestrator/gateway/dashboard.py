"""Serves the dashboard: built files, as they are."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from .problems import Problem

FOLDER = Path(__file__).parent / "static"
_REVALIDATE = {"Cache-Control": "no-cache"}


def add_dashboard(app: FastAPI, folder: Path = FOLDER) -> None:
    """``GET /`` and ``/static/*`` from ``folder``; 404 where it was not built."""

    @app.get("/", include_in_schema=False)
    def dashboard() -> Response:
        page = folder / "index.html"
        if not page.is_file():
            raise Problem(404, "no_dashboard", "This gateway has no dashboard; what it answers to is at /docs.")
        return FileResponse(page, headers=_REVALIDATE, media_type="text/html; charset=utf-8")

    if folder.is_dir():
        app.mount("/static", _Files(directory=folder))


class _Files(StaticFiles):
    """A browser asks whether a file has changed: after an upgrade it must not mix old files with new ones."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_REVALIDATE)
        return response
