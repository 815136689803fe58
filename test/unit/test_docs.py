"""Generated pages are up to date, links have a target, and documented commands exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path

import click
import pytest

from drone_orchestrator.cli.main import fleetctl

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
#: Ends a command within a shell line.
_ENDS = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1", ")"})


def test_generated_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run tools/generate_docs.py"


def without_code(text: str) -> str:
    """Return the text without blocks and spans of code, which hold neither links nor headings."""
    text = re.sub(r"^ *(```|~~~).*?^ *\1 *$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda span: span.group().replace("](", "] ("), text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: headings as GitHub converts them, and explicit ones."""
    text = without_code(page.read_text(encoding="utf-8"))
    found: set[str] = set(re.findall(r'<a (?:name|id)="([^"]+)"', text))
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(<?([^)\s>]+)", without_code(page.read_text(encoding="utf-8"))):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        assert path.is_relative_to(ROOT), f"{page.name}: {target} leads outside the project"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name}: {target}: {path.name} has {sorted(anchors(path))}"


def test_every_page_is_reachable_from_the_index() -> None:
    linked = re.findall(r"\]\(([^)#\s]+)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    reached = {(ROOT / "docs" / target).resolve() for target in linked if not target.startswith("http")}
    pages = {page for page in PAGES if page.parent != ROOT and page.name != "index.md" and "adr" not in page.parts}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - reached) == [], "docs/index.md leaves these out"


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of each ``fleetctl`` in code blocks, and in spans that are whole commands."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:bash|sh|console|shell)\n(.*?)^ *```", text, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`((?:\.venv/bin/|ros2 run drone_orchestrator )?fleetctl [^`\n]+)`", text)
    found = []
    for line in lines + [span for span in spans if not re.search(r"[…|\[]", span)]:
        if "fleetctl" not in line or line.lstrip().startswith("#"):
            continue
        words = shlex.split(line.lstrip("$ "), comments=True)
        starts = [i for i, word in enumerate(words) if Path(word).name == "fleetctl" and words[i - 1 : i] != ["-p"]]
        for start in starts:
            rest = words[start + 1 :]
            end = next((i for i, word in enumerate(rest) if word in _ENDS or word.startswith(">")), len(rest))
            found.append(rest[:end])
    return found


def parse(words: list[str]) -> None:
    """Raise the error that ``fleetctl`` would give for these arguments, without running anything."""
    command: click.Command = fleetctl
    context, parent = None, None
    while isinstance(command, click.Group):
        known = set(command.list_commands(click.Context(command)))
        if not words or words[0] not in known:
            command.make_context("fleetctl", words or ["--help"], parent=parent, resilient_parsing=not words)
            raise click.UsageError(f"no such command: {words[:1]}", context)
        context = click.Context(command, info_name=words[0], parent=parent)
        inner = command.get_command(context, words[0])
        assert inner is not None
        command, words, parent = inner, words[1:], context
    command.make_context(command.name or "", words, parent=parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_documented_commands_exist(page: Path) -> None:
    for words in commands(page):
        if not words or words[0] in ("--help", "--version"):
            continue
        try:
            parse([word.rstrip(",.;") for word in words])
        except (click.exceptions.Exit, click.MissingParameter):
            continue  # --help; and a command that is only mentioned
        except click.ClickException as error:
            if isinstance(error, click.BadOptionUsage) and words[-1] == error.option_name:
                continue  # an option that is only mentioned
            pytest.fail(f"{page.name}: fleetctl {' '.join(words)}: {error.format_message()}")


def test_a_wrong_command_is_detected(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nsudo fleetctl order show X --jsn | head\n```\nand `fleetctl ordr list`\n")
    assert commands(page) == [["order", "show", "X", "--jsn"], ["ordr", "list"]]
    for words in commands(page):
        with pytest.raises(click.UsageError):
            parse(words)


def test_a_link_to_a_missing_heading_is_detected(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# One `code` & two\n## Twice\n## Twice\n<a name="three"></a>\n```\n# no heading\n```\n')
    assert anchors(page) == {"one-code--two", "twice", "twice-1", "three"}


def named_functions(page: str) -> list[tuple[str, str]]:
    """Return (file, ``Class.method`` or function) of every row and mention `` `file.py`, `name` `` of a page."""
    text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
    return re.findall(r"`([\w/]+\.py)`(?: \||,) `([\w.]+)`", text)


def test_the_journeys_page_names_existing_functions() -> None:
    found = named_functions("journeys.md")
    assert len(found) > 30
    for file, name in found:
        body: list[ast.stmt] = ast.parse((ROOT / "src" / "drone_orchestrator" / file).read_text(encoding="utf-8")).body
        for part in name.split("."):
            nodes = [node for top in body for node in ast.walk(top)]
            definitions = [n for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
            match = [n for n in definitions if n.name == part]
            assert match, f"{file}: no {name}"
            body = match[0].body
