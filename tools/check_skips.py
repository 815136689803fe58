"""Fail if a test was skipped for anything but launch_pytest, which only a real ROS 2 has.

usage: check_skips.py junit.xml
"""

import sys
from xml.etree import ElementTree

ALLOWED = "launch_pytest"


def main(report: str) -> int:
    """Print every skipped test of a pytest JUnit report; 1 if one had no allowed reason."""
    refused = 0
    for case in ElementTree.parse(report).iter("testcase"):
        for skip in case.findall("skipped"):
            if skip.get("type") == "pytest.xfail":
                continue
            reason = f"{skip.get('message') or ''} {skip.text or ''}"
            allowed = ALLOWED in reason
            refused += not allowed
            name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
            print(f"skipped{'' if allowed else ', NOT ALLOWED'}: {name}: {skip.get('message')}")
    if refused:
        print(f"{refused} tests were skipped that must run here: their system packages belong in tools/system_packages")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
