"""``/docs``: the OpenAPI document as one self-contained page of plain HTML."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8886; padding: .5rem 0 1rem; }
h2 code { background: #8882; padding: .1rem .4rem; border-radius: .3rem; }
pre { background: #8882; padding: .7rem; overflow-x: auto; border-radius: .3rem; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; }
:root { color-scheme: light dark; }
"""
_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>
<body><h1>{title}</h1><p>{description}</p>
<p>For programs: <a href="openapi.json">openapi.json</a></p>"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Only the page's own style is allowed.
HEADERS = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"}


def render(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI ``document``."""
    info = document["info"]
    parts = [_HEAD.format(style=_STYLE, title=escape(info["title"]), description=escape(info.get("description", "")))]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(f"{method.upper()} {path}", operation))
    return "\n".join([*parts, "</body></html>"])


def _operation(name: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{escape(name)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if operation.get("parameters"):
        given = operation["parameters"]
        yield _table("Parameters", (_row(p["name"], p["schema"], p.get("description", ""), p["in"]) for p in given))
    for body in operation.get("requestBody", {}).get("content", {}).values():
        yield from _schema("Request", body["schema"])
    for status, response in sorted(operation.get("responses", {}).items()):
        yield f"<p><b>{escape(status)}</b> {escape(response.get('description', ''))}</p>"
        for kind, body in response.get("content", {}).items():
            if kind == "application/json" and body.get("schema"):
                yield from _schema("Body", body["schema"])
    yield "</section>"


def _schema(title: str, schema: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    rows = (_row(name, each, "", "required" if name in required else "") for name, each in _fields(schema))
    yield _table(title, rows)
    if "example" in schema:
        yield f"<pre>{escape(json.dumps(schema['example'], indent=2))}</pre>"


def _fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, each in schema.get("properties", {}).items():
        yield prefix + name, each
        yield from _fields(each, f"{prefix}{name}.")


def _table(title: str, rows: Iterator[str]) -> str:
    body = "".join(rows)
    return f"<table><caption>{escape(title)}</caption>{body}</table>" if body else ""


def _row(name: str, schema: dict[str, Any], description: str, note: str) -> str:
    kind = schema.get("type", "")
    kind = " or ".join(kind) if isinstance(kind, list) else str(kind)
    text = description or schema.get("description", "")
    choices = ", ".join(map(str, schema.get("enum", ())))
    cells = (f"<code>{escape(name)}</code>", escape(kind), escape(note), escape(f"{text} {choices}".strip()))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
