"""Strict reading of the files that people write: YAML and JSON, each value with the line it stands in.

Theory: a file that two readers understand differently is refused, and so is one that says something twice. The YAML
that is read is what JSON can say, in YAML's clothes: mappings with unique names, lists, text, numbers, ``true``,
``false``, ``null``. Anchors, merge keys, tags and several documents are refused. So is a plain word that YAML 1.1 takes
for something other than text (``no``, ``on``, ``1:30``, ``0x1F``, ``1_000``, a date): quotes make it text.

:func:`read_yaml` returns the document as a :class:`Value`, which converts itself to what the caller expects. Every
refusal is a :class:`FileRefused` of one line: ``fleet.yaml:12: depot.lat_deg: must be from -85 to 85, got 91``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Far more than any file of this kind needs, and little enough to be read by mistake.
MAX_BYTES = 1 << 20
#: Characters of a value or name that a refusal shows.
_SHOWN_CHARS = 60
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
#: What YAML 1.1 takes some plain words for.
_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}
_TEXT_TAG = "tag:yaml.org,2002:str"
#: A string, a mark or another value of valid JSON.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+')

Scalar = str | float | int | bool | None


class FileRefused(ValueError):
    """A file cannot be used. The text is one line: file, line, field, and what is wrong."""


class Value:
    """One value of a file, with its place. Its methods convert it, or raise :class:`FileRefused`."""

    def __init__(
        self, file: object, line: int, field: str, content: dict[str, Value] | list[Value] | Scalar, doubt: str = ""
    ) -> None:
        """``doubt`` says why the value must not be used, if so; ROS's files have values for others, too."""
        self.file = file
        self.line = line
        self.field = field
        self._content = content
        self._doubt = doubt

    @property
    def content(self) -> dict[str, Value] | list[Value] | Scalar:
        """The value as it stands in the file."""
        if self._doubt:
            raise self.refuse(self._doubt)
        return self._content

    def refuse(self, problem: str) -> FileRefused:
        """Return the refusal of this value for the caller to raise."""
        return _refused(self.file, self.line, self.field, problem)

    def mapping(self, required: Collection[str] = (), optional: Collection[str] | None = None) -> dict[str, Value]:
        """Return the values by name. With ``optional``, other names than these and ``required`` are refused."""
        if not isinstance(self.content, dict):
            raise self.refuse(f"must be a mapping, got {self.kind}")
        for name, value in self.content.items():
            if optional is not None and name not in required and name not in optional:
                known = ", ".join([*required, *sorted(set(optional) - set(required))])
                raise value.refuse(f"unknown; known are {known}")
        for name in required:
            if name not in self.content:
                raise self.refuse(f"{shown(name)} is required, and missing")
        return self.content

    def items(self, least: int = 0) -> list[Value]:
        """Return the values of a list of at least ``least``."""
        if not isinstance(self.content, list):
            raise self.refuse(f"must be a list, got {self.kind}")
        if len(self.content) < least:
            raise self.refuse(f"must have at least {least}, got {len(self.content)}")
        return self.content

    def text(self) -> str:
        """Return a text that is not empty."""
        if not isinstance(self.content, str):
            raise self.refuse(f"must be a text, got {self.kind}")
        if not self.content:
            raise self.refuse("must not be empty")
        return self.content

    def number(self, least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf) -> float:
        """Return a finite number from ``least`` to ``most`` and greater than ``above``."""
        if isinstance(self.content, bool) or not isinstance(self.content, int | float):
            raise self.refuse(f"must be a number, got {self.kind}")
        if not (least <= self.content <= most and self.content > above):
            bounds = [f"above {above:g}"] if above > -math.inf else [f"at least {least:g}"] if least > -math.inf else []
            bounds += [f"at most {most:g}"] if most < math.inf else []
            raise self.refuse(f"must be {' and '.join(bounds)}, got {self.content:g}")
        return float(self.content)

    def whole(self, least: int) -> int:
        """Return a whole number of at least ``least``."""
        if isinstance(self.content, bool) or not isinstance(self.content, int) or self.content < least:
            got = f"{self.content:g}" if isinstance(self.content, float) else self.kind
            got = str(self.content) if isinstance(self.content, int) and not isinstance(self.content, bool) else got
            raise self.refuse(f"must be a whole number, at least {least}, got {got}")
        return self.content

    @property
    def kind(self) -> str:
        """The kind of value in words, with the value if it is short."""
        if isinstance(self.content, str):
            return f"the text {shown(self.content)!r}"
        names = {dict: "a mapping", list: "a list", bool: f"{self.content}".lower(), type(None): "nothing"}
        return names.get(type(self.content), f"the number {self.content}")


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file. Raises :class:`FileRefused` unless it can be read, is UTF-8, and is not too long."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise FileRefused(f"{path}: {error.strerror}") from error
    return decode(raw, path, max_bytes)


def decode(raw: bytes, file: object, max_bytes: int = MAX_BYTES) -> str:
    """Return ``raw``, what was read of ``file``, as text. Raises :class:`FileRefused`."""
    if len(raw) > max_bytes:
        raise FileRefused(f"{file}: must have at most {max_bytes >> 10} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FileRefused(f"{file}:{line}: must be UTF-8: {error.reason} at byte {error.start}") from error


def read_yaml(path: Path) -> Value:
    """Return the only document of a YAML file. Raises :class:`FileRefused`."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, file: object) -> Value:
    """Return the only document in ``text``, the content of ``file``. Raises :class:`FileRefused`."""
    try:
        root = _Composer(text).get_single_node()
        if root is None:
            raise FileRefused(f"{file}: must not be empty")
        return _value(root, file, "")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character {error.character:#x} is not allowed in YAML"
        raise FileRefused(f"{file}:{line}: {problem}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = f"{error.context}, {error.problem}" if error.context else error.problem
        tab = " (indent with spaces, not with tabs)" if "\\t" in str(error.problem) else ""
        raise FileRefused(f"{file}:{line}: {_one_line(what)}{tab}") from error
    except RecursionError as error:
        raise FileRefused(f"{file}: is nested too deeply") from error


def parse_json(text: str, file: object) -> Any:
    """Return the JSON document in ``text``, the content of ``file``. Raises :class:`FileRefused`."""
    try:
        document = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair cannot be stored
        return document
    except json.JSONDecodeError as error:
        what = "must not be empty" if not text.strip() else f"not JSON: {error.msg} in column {error.colno}"
        raise FileRefused(f"{file}:{error.lineno}: {what}") from error
    except _Doubtful as error:
        for line, field, token in _json_places(text):
            if error.is_at(field, token):
                raise _refused(file, line, field, error.problem) from None
        raise FileRefused(f"{file}: {error.problem}") from None
    except UnicodeEncodeError as error:
        raise FileRefused(f"{file}: a text has half of a surrogate pair") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        what = "is nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
        raise FileRefused(f"{file}: {_one_line(what)}") from error


def json_line(text: str, field: str) -> int:
    """Return the line of ``field`` in valid JSON, or of what should contain it, such as ``[2].destination.lat``."""
    found = 1
    for line, place, _ in _json_places(text):
        if place == field:
            return line
        if field.startswith(place) and field[len(place) : len(place) + 1] in (".", "["):
            found = line
    return found


def shown(text: str) -> str:
    """Return ``text`` as a refusal may show it: short, and in characters that every terminal prints."""
    safe = text.encode("unicode_escape").decode("ascii") if not text.isprintable() or not text.isascii() else text
    return safe if len(safe) <= _SHOWN_CHARS else f"{safe[:_SHOWN_CHARS]}…"


def _refused(file: object, line: int, field: str, problem: str) -> FileRefused:
    return FileRefused(f"{file}:{line}: {f'{field}: ' if field else ''}{problem}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


# --- YAML -------------------------------------------------------------------------------------------------------------


class _Composer(yaml.SafeLoader):
    """PyYAML's composer without anchors, aliases and tags."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases (& and *) are not supported", problem_mark=event.start_mark
            )
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tags ({event.tag}) are not supported", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _value(node: yaml.Node, file: object, field: str) -> Value:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Value(file, line, field, _members(node, file, field))
    if isinstance(node, yaml.SequenceNode):
        items = [_value(each, file, f"{field}[{index}]") for index, each in enumerate(node.value)]
        return Value(file, line, field, items)
    assert isinstance(node, yaml.ScalarNode)
    return Value(file, line, field, *_scalar(node))


def _members(node: yaml.MappingNode, file: object, field: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _refused(file, line, field, "a name must be a text")
        if key.style is None and key.value == "<<":
            raise _refused(file, line, field, "merge keys (<<) are not supported")
        name, doubt = _scalar(key)
        if doubt or not isinstance(name, str):
            raise _refused(file, line, field, f"a name must be a text: put {shown(key.value)} in quotes")
        path = f"{field}.{shown(name)}" if field else shown(name)
        if name in found:
            raise _refused(file, line, path, f"must be unique, is in line {lines[name]} already")
        lines[name] = line
        found[name] = _value(value, file, path)
        found[name].line = line  # the mark of an empty value, or of a block, is further down
    return found


def _scalar(node: yaml.ScalarNode) -> tuple[Scalar, str]:
    """Return a value, and why it must not be used, if so."""
    text: str = node.value
    if node.style is not None:
        return text, ""
    if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return _WORDS[text.lower()], ""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            return None, f"must be a finite number, got {shown(text)}"
        return (int(text) if text.lstrip("+-").isdecimal() else number), ""
    if node.tag != _TEXT_TAG:
        kind = _KINDS.get(node.tag.rpartition(":")[2], "something else")
        problem = f"YAML readers differ on {shown(text)} ({kind} to some)"
        return None, f"{problem}: quote a text, write a number in plain digits"
    return text, ""


# --- JSON -------------------------------------------------------------------------------------------------------------


@dataclass
class _Doubtful(Exception):
    """Valid JSON that is refused all the same: the name ``name`` is repeated, or the number ``token`` is none."""

    problem: str
    name: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        self._seen: set[str] = set()

    def is_at(self, field: str, token: str) -> bool:
        """Return whether this is the place of it, for places in order."""
        if self.token:
            return token == self.token
        if not field.endswith(f".{shown(self.name)}") and field != shown(self.name):
            return False
        again = field in self._seen
        self._seen.add(field)
        return again


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Doubtful("must be unique, is there already", name=next(n for n in names if names.count(n) > 1))
    return found


def _no_constant(text: str) -> Any:
    raise _Doubtful(f"must be a finite number, got {text}", token=text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Doubtful(f"must be a finite number, got {shown(text)}", token=text)
    return number


def _json_places(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, field and first token of every value in valid JSON, in order."""
    stack: list[list[Any]] = []  # of each open container: its field, and the index or name of the value that follows
    name: str | None = None
    line, counted = 1, 0
    for found in _JSON_TOKEN.finditer(text):
        token = found.group()
        line += text.count("\n", counted, found.start())
        counted = found.start()
        inside = stack[-1] if stack else None
        if token in "]}":
            stack.pop()
        elif token == ",":
            if inside is not None and isinstance(inside[1], int):
                inside[1] += 1
            name = None
        elif token == ":":
            pass
        elif inside is not None and inside[1] is None and name is None:
            name = json.loads(token)
        else:
            field = _json_field(inside, name)
            name = None
            yield line, field, token
            if token in "[{":
                stack.append([field, 0 if token == "[" else None])


def _json_field(inside: list[Any] | None, name: str | None) -> str:
    if inside is None:
        return ""
    if name is None:
        return f"{inside[0]}[{inside[1]}]"
    return f"{inside[0]}.{shown(name)}" if inside[0] else shown(name)
