"""Rules for the structure of the source tree; each lists the places that break it.

The import contract (``make lint``) says which package may import which. These rules say what it cannot: no circles
between modules, short files and functions, one meaning for a class name, few entries per package, plain English.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PACKAGE = SRC / "drone_orchestrator"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "test").rglob("*.py"))
PROGRAMS = [*MODULES, *sorted((ROOT / "benchmarks").glob("*.py")), *sorted((ROOT / "tools").glob("*.py")), *TESTS]
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
#: A function may be longer if this comment, with a reason, is on the line of its ``def`` or on the one above.
EXEMPTION = re.compile(r"# long: \S+")
#: The most modules and packages in a package, not counting ``__init__``, so that the right one is found by its name.
MAX_ENTRIES = {"core": 12, "nodes": 5, "cli": 20}


def name_of(path: Path) -> str:
    """Return the dotted name of the module in ``path``; a package goes by its own name."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path, known: frozenset[str]) -> Iterator[str]:
    """Yield the modules of the package that ``path`` imports: anywhere, lazily, or for types only."""
    name = name_of(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *(base.split(".") if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in known:
                    yield whole
                elif base in known:
                    yield base


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of modules, first and last the same; an empty list when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        members: list[str] = error.args[1]
        return members
    return []


def test_a_circle_is_detected() -> None:
    graph: dict[str, set[str]] = {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}
    assert set(circle(graph)) == {"b", "c", "d"}
    assert circle({**graph, "d": set()}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = frozenset(name_of(path) for path in MODULES)
    graph = {name_of(path): set(imports_of(path, known)) - {name_of(path)} for path in MODULES}
    assert sum(len(after) for after in graph.values()) > len(MODULES)  # the imports were read
    assert circle(graph) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_FILE_LINES, f"{len(lines)} lines: split it"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            beside = "\n".join(lines[max(0, node.lineno - 2) : node.body[0].lineno])
            assert length <= MAX_FUNCTION_LINES or EXEMPTION.search(beside), (
                f"{node.name} has {length} lines: split it, or say why not ('# long: reason')"
            )


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(("package", "most"), MAX_ENTRIES.items())
def test_a_package_has_few_entries(package: str, most: int) -> None:
    entries = {
        path.name
        for path in (PACKAGE / package).iterdir()
        if path.name not in {"__init__.py", "__pycache__"} and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert len(entries) <= most, sorted(entries)


def test_every_package_states_its_purpose() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(tree_of(path)) or ""
        assert len(text) > 40, f"{name_of(path)}: what is it for, what goes in, what comes out?"


def starts_processes(path: Path) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen" for node in ast.walk(tree_of(path))
    )


@pytest.mark.parametrize(
    "path",
    [p for p in TESTS if p.parent.name in ("chaos", "contract", "e2e", "ros") and starts_processes(p)],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_processes_of_tests_die_with_a_killed_test(path: Path) -> None:
    assert "dies_with_parent" in {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}


def test_no_two_test_modules_share_a_name() -> None:
    """pytest imports them by their name alone, and stops at the second one."""
    names = Counter(path.name for path in TESTS if path.name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []


# --- English ----------------------------------------------------------------------------------------------------------

#: Phrases that must be read twice, and what to write instead. The first word of a docstring is checked separately.
FIRST_WORDS = frozenset({"What", "Whether", "Who", "Whom", "Whose", "Where", "How"})
PHRASES = {
    r"\bso (?:long|often|many|much) \(": "this long (s), every N s, at most N",
    r"\bfor so long\b": "for this long",
    r"\bso (?:often|many times)\b(?! (?:that|as))": "this often, N times",
    r"\bwhoever\b": "name the component",
    r"\bthe own\b": "its, this replica's",
    r"\bhand(?:s|ed|ing)? in\b": "submit",
    r"\bbelongs? into\b": "belong in",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair",
    r"\bmisfits?\b": "incompatible",
    r"\bprolong(?:s|ed|ing)?\b": "renew",
    r"\bnobody may\b": "no component may",
    r"\blies on\b": "depends on",
}


def awkward(text: str) -> list[str]:
    """Return each banned phrase in ``text`` with its replacement; code in backticks is ignored."""
    plain = " ".join(re.sub(r"`+[^`]*`+", "", text).split())
    return [f"{m.group()!r}: {new}" for old, new in PHRASES.items() if (m := re.search(old, plain, re.I))]


def test_awkward_phrases_are_detected() -> None:
    assert awkward("A drone silent for so long (s) is mended by whoever") != []
    assert awkward("The `mend` step repairs a drone") == []


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every docstring and every run of comments."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node)
            if said:
                yield node.body[0].lineno, said
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"(?:^|\s)#:? (.*)$", line)
        if comment:
            yield number, comment.group(1)


@pytest.mark.parametrize("path", [p for p in PROGRAMS if p != Path(__file__)], ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_is_plain_english(path: Path) -> None:
    found = [f"{line}: {each}" for line, text in prose_of(path) for each in awkward(text)]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node) or ""
            if said.split(" ", 1)[0] in FIRST_WORDS:
                found.append(f"{node.body[0].lineno}: begins with {said.split(' ', 1)[0]!r}: a verb or a noun")
    assert found == []


PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_are_plain_english(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{number}: {each}" for number, line in enumerate(lines, 1) for each in awkward(line)] == []
