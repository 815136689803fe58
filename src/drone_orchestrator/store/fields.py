"""Tables of the fields of stored records: each field's name, reader and writer.

A :class:`Table` converts a record to a JSON object and back. Each field is described once. Its default is that of the
record's dataclass, and the check that every number is finite is derived from the readers.

A record with an attribute ``unknown`` keeps the fields that this version does not know, also those of its parts, and
writes them back. So an older program can carry on a newer one's order without taking anything away from it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, NoReturn, TypeVar, cast

from ..core.types import Priority, SagaStatus
from . import json_text

E = TypeVar("E", bound=Enum)
R = TypeVar("R")

REQUIRED: Any = object()
#: The attribute in which a record keeps the fields that this version does not know.
UNKNOWN_ATTRIBUTE = "unknown"
#: The field of every stored value that is no attribute of its record.
VERSION_FIELD = "v"
_STATUSES = {status.value: status for status in SagaStatus}
_PRIORITIES = dict(Priority.__members__)
_PRIORITY_NAMES = {priority: name.lower() for name, priority in _PRIORITIES.items()}


class Unreadable(ValueError):
    """The reason why a value is corrupt."""


class JsonObject:
    """Typed access to the fields of one JSON object. Raises :class:`Unreadable` naming the field."""

    def __init__(self, data: object, where: str = "") -> None:
        if not isinstance(data, dict):
            raise Unreadable(f"{where or 'value'} is not an object")
        self.fields: Mapping[str, Any] = data
        self._where = f"{where}." if where else ""

    def _default(self, name: str, default: Any) -> Any:
        if default is REQUIRED:
            raise Unreadable(f"{self._where}{name} is missing")
        return default

    def _wrong(self, name: str, wanted: str) -> NoReturn:
        raise Unreadable(f"{self._where}{name} is not {wanted}")

    def text(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.fields.get(name)
        if isinstance(value, str):
            return value
        return self._default(name, default) if value is None else self._wrong(name, "text")

    def number(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.fields.get(name)
        if value.__class__ is float and math.isfinite(value):
            return value
        if value is None:
            return self._default(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong(name, "a number")
        try:
            number = float(value)
        except OverflowError:
            self._wrong(name, "a finite number")
        return number if math.isfinite(number) else self._wrong(name, "a finite number")

    def integer(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.fields.get(name)
        if value is None:
            return self._default(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, "an integer")
        return value

    def flag(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.fields.get(name)
        if value is None:
            return self._default(name, default)
        return value if isinstance(value, bool) else self._wrong(name, "true or false")

    def status(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.text(name, default)
        if value is default:
            return default
        return _STATUSES.get(value) or self._wrong(name, "a known status")

    def priority(self, name: str, default: Any = REQUIRED) -> Any:
        value = self.text(name, default)
        if value is default:
            return default
        return _PRIORITIES.get(value.upper()) or self._wrong(name, "a known priority")

    def one_of(self, choices: type[E], name: str, default: Any = REQUIRED) -> Any:
        value = self.text(name, default)
        try:
            return choices(value)
        except ValueError:
            self._wrong(name, f"one of {', '.join(str(choice.value) for choice in choices)}")

    def marks(self, name: str, default: Any = REQUIRED) -> Any:
        """Return a list of pairs of an integer and a finite number, each growing, as a tuple."""
        value = self.fields.get(name)
        if value is None:
            return self._default(name, default)
        found: list[tuple[int, float]] = []
        for pair in value if isinstance(value, list) else self._wrong(name, "a list"):
            if not isinstance(pair, list) or [type(each) for each in pair] != [int, float]:
                self._wrong(name, "a list of pairs of an integer and a float")
            revision, time_s = pair
            if not math.isfinite(time_s) or (found and (revision <= found[-1][0] or time_s < found[-1][1])):
                self._wrong(name, "a list of growing numbers")
            found.append((revision, time_s))
        return tuple(found)

    def part(self, table: Table[Any], name: str, default: Any = REQUIRED) -> Any:
        value = self.fields.get(name)
        if value is None:
            return self._default(name, default)
        return table.read(JsonObject(value, f"{self._where}{name}"))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    ``name`` is its key in JSON, ``attribute`` its name in the record. ``read`` takes the JSON object, the name and the
    default; ``None``: the record derives the value itself, so it is only written. ``write`` is a Python expression for
    the JSON value, using the value ``{0}`` and ``names``. ``part``: the table of a nested record.
    """

    name: str
    attribute: str
    read: Callable[[JsonObject, str, Any], Any] | None
    write: str = "{0}"
    names: Mapping[str, object] = field(default_factory=dict)
    part: Table[Any] | None = None
    sparse: bool = False  # not written while it is zero or empty

    @property
    def is_float(self) -> bool:
        """True if the check for finite numbers must include this field."""
        return self.read is JsonObject.number


def text(name: str) -> Field:
    """Describe a field that holds text."""
    return Field(name, name, JsonObject.text)


def number(name: str, attribute: str = "") -> Field:
    """Describe a field that holds a finite float."""
    return Field(name, attribute or name, JsonObject.number)


def integer(name: str) -> Field:
    """Describe a field that holds an integer."""
    return Field(name, name, JsonObject.integer)


def sparse(described: Field) -> Field:
    """Describe a field that is left out while it is zero or empty, as records were written before it existed."""
    return dataclasses.replace(described, sparse=True)


def flag(name: str) -> Field:
    """Describe a field that holds true or false."""
    return Field(name, name, JsonObject.flag)


def status(name: str) -> Field:
    """Describe a field that holds a saga's status, or null."""
    return Field(name, name, JsonObject.status, "({0}.value if {0} else None)")


def priority(name: str) -> Field:
    """Describe a field that holds a priority, in lower case."""
    return Field(name, name, JsonObject.priority, "priority_names[{0}]", {"priority_names": _PRIORITY_NAMES})


def one_of(name: str, choices: type[Enum]) -> Field:
    """Describe a field that holds the value of one of ``choices``."""
    return Field(name, name, lambda data, key, default: data.one_of(choices, key, default), "{0}.value")


def marks(name: str) -> Field:
    """Describe a field that holds pairs of a revision and a time."""
    return Field(name, name, JsonObject.marks, "[list(mark) for mark in {0}]")


def part(name: str, table: Table[Any]) -> Field:
    """Describe a field that holds a record of its own, or null."""
    return Field(name, name, lambda data, key, default: data.part(table, key, default), part=table)


def derived(name: str) -> Field:
    """Describe a field that is stored for readers of the JSON and computed by the record."""
    return Field(name, name, None)


class Table(Generic[R]):
    """The fields of a record, in the order in which they are stored.

    Its functions are generated from the fields, as dataclasses generate theirs. Looping over a table would take three
    times as long, and a leader writes and reads several records for each order. Raises ``TypeError`` if the fields
    differ from those of the dataclass.
    """

    write: Callable[[R], dict[str, Any]]
    """Return a record as a JSON object."""
    sum_of_floats: Callable[[R], float]
    """Return the sum of all floats in a record, nested ones too: it is finite if each of them is."""
    read: Callable[[JsonObject], R]
    """Return the record in a JSON object. Raises :class:`Unreadable`."""

    keeps_unknown: bool
    """``True`` if the record keeps the fields that this version does not know."""

    def __init__(self, record: type[R], *fields: Field) -> None:
        self.record, self.fields = record, fields
        #: Parts whose records have nowhere to keep unknown fields, so this record keeps theirs.
        self._plain_parts = [(f.name, f.part) for f in fields if f.part is not None and not f.part.keeps_unknown]
        self.names = frozenset({VERSION_FIELD, *(f.name for f in fields)})
        arguments = {argument.name: argument.default for argument in dataclasses.fields(cast(Any, record))}
        self.keeps_unknown = arguments.pop(UNKNOWN_ATTRIBUTE, None) is not None
        stored = {f.attribute for f in fields if f.read is not None}
        if stored != set(arguments):
            raise TypeError(f"{record.__name__}: only table or only record has {sorted(stored ^ set(arguments))}")
        written: list[str] = []
        floats: list[str] = []
        scope: dict[str, object] = {"record": record, "unknown": self._unknown, "with_unknown": _with_unknown}
        for f in fields:
            value, optional = f"r.{f.attribute}", arguments.get(f.attribute) is None
            scope.update(f.names)
            if f.part is None:
                item = f"{f.name!r}: {f.write.format(value)}"
                written.append(f"**({{{item}}} if {value} else {{}})" if f.sparse else item)
                if f.is_float:
                    floats.append(f"({value} or 0.0)" if optional else value)
                continue
            scope[f"write_{f.name}"], scope[f"sum_{f.name}"] = f.part.write, f.part.sum_of_floats
            present = f" if {value} is not None else " if optional else ""
            written.append(f"{f.name!r}: write_{f.name}({value}){present and present + 'None'}")
            floats.append(f"(sum_{f.name}({value}){present and present + '0.0'})")
        by_attribute = {f.attribute: f for f in fields}
        read = []
        for name, default in arguments.items():
            scope[f"read_{name}"] = by_attribute[name].read
            scope[f"default_{name}"] = REQUIRED if default is dataclasses.MISSING else default
            read.append(f"read_{name}(data, {by_attribute[name].name!r}, default_{name})")
        document = f"{{{', '.join(written)}}}"
        if self.keeps_unknown:
            document = f"with_unknown({document}, r.unknown) if r.unknown else {document}"
            read.append("unknown=unknown(data)")
        self.write = eval(f"lambda r: {document}", scope)
        self.sum_of_floats = eval(f"lambda r: {' + '.join(floats) or '0.0'}", scope)
        self.read = eval(f"lambda data: record({', '.join(read)})", scope)

    def _unknown(self, data: JsonObject) -> str:
        """Return the fields that this version does not know, as JSON; ``""`` if there are none, as nearly always."""
        document = data.fields
        known = self.names.issuperset(document)
        for name, part in self._plain_parts:
            inner = document.get(name)
            known = known and (inner is None or part.names.issuperset(inner))
        if known:
            return ""
        return json_text.dump(self._only_unknown(document), math.nan).decode("ascii")

    def _only_unknown(self, document: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: value for name, value in document.items() if name not in self.names}
        for name, part in self._plain_parts:
            inner = part._only_unknown(document.get(name) or {})
            if inner:
                found[name] = inner
        return found


def _with_unknown(document: dict[str, Any], unknown: str) -> dict[str, Any]:
    """Add the fields that a newer version wrote. Known fields keep their values."""
    for name, value in json.loads(unknown).items():
        known = document.get(name)
        if name not in document:
            document[name] = value
        elif isinstance(known, dict) and isinstance(value, dict):
            document[name] = {**value, **known}
    return document
