"""CI accepts a skipped test only for a reason that the operating system explains (tools/check_skips.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORT = """
<testsuites><testsuite>
  <testcase classname="a" name="passes"/>
  <testcase classname="b" name="misses"><skipped type="pytest.skip" message="no SDF parser: no tool"/></testcase>
  <testcase classname="c" name="fails"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>
"""


def check_skips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_skips", ROOT / "tools" / "check_skips.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("allowed", "code"), [(["no SDF parser"], 0), (["launch_pytest"], 1), ([], 1)])
def test_only_an_allowed_reason_lets_a_skipped_test_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], allowed: list[str], code: int
) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(REPORT, encoding="utf-8")
    assert check_skips().main(str(report), allowed) == code
    assert ("NOT ALLOWED: b::misses" in capsys.readouterr().out) is bool(code)


@pytest.mark.parametrize(
    ("release", "reasons"),
    [("bookworm", ["launch_pytest"]), ("trixie", ["launch_pytest", "no SDF parser"])],
)
def test_a_missing_sdf_parser_is_excused_only_on_systems_without_a_package_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, reasons: list[str]
) -> None:
    (tmp_path / "os-release").write_text(f"VERSION_CODENAME={release}\n", encoding="utf-8")
    monkeypatch.setenv("OS_RELEASE", str(tmp_path / "os-release"))
    assert check_skips().allowed_reasons() == reasons
