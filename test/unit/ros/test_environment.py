"""Environment values on which ROS would raise, abort or exit are refused in one line, before rclpy is imported."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.ros.environment import PROFILE_VARIABLES, UnusableEnvironment, check, log_folder


@pytest.fixture
def usable(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize("domain", ["", "0", "7", "101", "232"])
def test_a_valid_domain_is_accepted(usable: dict[str, str], domain: str) -> None:
    check({**usable, "ROS_DOMAIN_ID": domain})


@pytest.mark.parametrize("domain", ["abc", "-1", "233", "1.5", " 7", "²", "99999999999999999999"])
def test_an_invalid_domain_is_refused(usable: dict[str, str], domain: str) -> None:
    with pytest.raises(UnusableEnvironment, match="ROS_DOMAIN_ID must be a number from 0 to 232"):
        check({**usable, "ROS_DOMAIN_ID": domain})


def index(prefix: Path, *names: str) -> str:
    folder = prefix / "share/ament_index/resource_index/rmw_typesupport"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return str(prefix)


def test_an_installed_rmw_is_accepted_and_any_other_is_refused_with_the_available_ones(
    usable: dict[str, str], tmp_path: Path
) -> None:
    prefix = index(tmp_path / "ros", "rmw_cyclonedds_cpp", "rmw_fastrtps_cpp")
    environment = {**usable, "AMENT_PREFIX_PATH": f"/nowhere{os.pathsep}{prefix}"}
    check({**environment, "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
    with pytest.raises(UnusableEnvironment, match="rmw_foo is not installed; use rmw_cyclonedds_cpp or rmw_fastrtps"):
        check({**environment, "RMW_IMPLEMENTATION": "rmw_foo"})


@pytest.mark.ros
def test_without_an_index_an_unknown_rmw_is_detected_in_a_separate_process(usable: dict[str, str]) -> None:
    with pytest.raises(UnusableEnvironment, match="RMW_IMPLEMENTATION=rmw_foo is not installed"):
        check({**usable, "RMW_IMPLEMENTATION": "rmw_foo"})


def test_without_any_log_folder_the_variables_to_set_are_named(usable: dict[str, str]) -> None:
    with pytest.raises(UnusableEnvironment, match="set HOME, ROS_HOME or ROS_LOG_DIR"):
        check({})
    check({}, logs=False)


def test_a_log_folder_that_cannot_be_created_is_refused(usable: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableEnvironment, match=r"cannot write its logs to .*/file/logs .*set ROS_LOG_DIR"):
        check({**usable, "ROS_LOG_DIR": str(tmp_path / "file" / "logs")})


def test_a_log_folder_that_cannot_be_written_is_refused(
    usable: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "log")  # root may write everywhere
    with pytest.raises(UnusableEnvironment, match="cannot write its logs"):
        check({**usable, "ROS_LOG_DIR": str(tmp_path / "log")})


def test_a_dds_profile_that_cannot_be_read_is_refused(usable: dict[str, str], tmp_path: Path) -> None:
    """Fast DDS would go on without it, on other interfaces than the profile names."""
    for variable in PROFILE_VARIABLES:
        check({**usable, variable: str(tmp_path)})
        with pytest.raises(UnusableEnvironment, match=f"{variable}=/nowhere.xml cannot be read"):
            check({**usable, variable: "/nowhere.xml"})


def test_too_few_open_files_are_refused(usable: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 4096))
    with pytest.raises(UnusableEnvironment, match=r"at most 64 files may be open, .* ulimit -n 4096"):
        check(usable)
    check(usable, runs=False)  # --help needs none


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HOME": "/h"}, "/h/.ros/log"),
        ({"HOME": "/h", "ROS_HOME": "/r"}, "/r/log"),
        ({"HOME": "/h", "ROS_HOME": "~/r"}, "/h/r/log"),
        ({"HOME": "/h", "ROS_HOME": "/r", "ROS_LOG_DIR": "/l"}, "/l"),
        ({"HOME": "/h", "ROS_LOG_DIR": "~"}, "/h"),
        ({"HOME": "/h", "ROS_LOG_DIR": ""}, "/h/.ros/log"),
    ],
)
def test_the_log_folder_is_the_one_ros_uses(environment: dict[str, str], folder: str) -> None:
    assert log_folder(environment) == Path(folder)


def test_checking_the_environment_does_not_import_rclpy() -> None:
    program = "import sys, drone_orchestrator.ros.environment; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
