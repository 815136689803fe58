"""Fail if a test was skipped that can run on this system.

usage: check_skips.py junit.xml
"""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree


def allowed_reasons() -> list[str]:
    """Return the reasons for a skip that this system cannot help: parts of pytest's message."""
    allowed = ["launch_pytest"]  # only a real ROS 2 has it
    listed = subprocess.run(
        [str(Path(__file__).with_name("system_packages")), "--list"], capture_output=True, text=True, check=True
    ).stdout
    if not any(line.startswith("reads_sdf ") for line in listed.splitlines()):
        allowed.append("no SDF parser")  # no package brings one here
    return allowed


def main(report: str, allowed: list[str]) -> int:
    """Print every skipped test of a pytest JUnit report; 1 if one had no allowed reason."""
    refused = 0
    for case in ElementTree.parse(report).iter("testcase"):
        for skip in case.findall("skipped"):
            if skip.get("type") == "pytest.xfail":
                continue
            reason = f"{skip.get('message') or ''} {skip.text or ''}"
            fine = any(each in reason for each in allowed)
            refused += not fine
            name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
            print(f"skipped{'' if fine else ', NOT ALLOWED'}: {name}: {skip.get('message')}")
    if refused:
        print(f"{refused} tests were skipped that must run here: their system packages belong in tools/system_packages")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], allowed_reasons()))
