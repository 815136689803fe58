"""Serves the built files of the dashboard."""

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
    """Add ``GET /`` and ``/static/*`` from ``folder``; 404 if the dashboard was not built."""

    @app.get("/", include_in_schema=False)
    def dashboard() -> Response:
        page = folder / "index.html"
        if not page.is_file():
            raise Problem(404, "no_dashboard", "This gateway has no dashboard. The API is described at /docs.")
        return FileResponse(page, headers=_REVALIDATE, media_type="text/html; charset=utf-8")

    if folder.is_dir():
        app.mount("/static", _Files(directory=folder))


class _Files(StaticFiles):
    """Static files that a browser revalidates each time, so that it never mixes old and new files after an upgrade."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_REVALIDATE)
        return response
