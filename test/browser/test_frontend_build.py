"""The dashboard's committed files are built from its sources, and its pure functions are correct."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from pathlib import Path

import pytest

import drone_orchestrator

ROOT = Path(__file__).parents[2]
STATIC = Path(drone_orchestrator.__file__).parent / "gateway" / "static"

pytestmark = [
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]


def run(*command: str, cwd: Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources, with the packages of the lock file installed beside them."""
    copy = tmp_path_factory.mktemp("build") / "frontend"
    shutil.copytree(ROOT / "frontend", copy, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--ignore-scripts", "--prefer-offline", cwd=copy)
    return copy


def test_building_gives_the_committed_files(sources: Path, tmp_path: Path) -> None:
    run("node", "build.mjs", "--outdir", str(tmp_path), cwd=sources)
    built = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    committed = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())
    assert built == committed
    _, differ, broken = filecmp.cmpfiles(tmp_path, STATIC, built, shallow=False)
    assert (differ, broken) == ([], []), "run `make frontend`, and commit the result"


def test_the_page_loads_everything_from_its_gateway() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        for scheme in ("http://", "https://", "@import"):
            rest = [part[:40] for part in text.split(scheme)[1:] if not part.startswith("www.w3.org/")]
            assert rest == [], f"{path.name} names {scheme}{rest}"


def test_pure_functions(sources: Path) -> None:
    tests = sorted(str(path) for path in (sources / "test").glob("*.test.mjs"))
    assert tests
    run("node", "--test", *tests, cwd=sources)
