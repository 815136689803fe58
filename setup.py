"""Package of the nodes and of `fleetctl`; built by colcon where ROS 2 is, by pip (`make setup`) elsewhere."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "drone_orchestrator"


def data_files():
    """Files outside the Python package, by the folder below the install prefix they go to."""
    if "editable_wheel" in sys.argv:
        return []  # pip would copy, and the copies would go stale: tools/setup links them instead
    share = Path("share") / NAME
    found = [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(share), ["package.xml"]),
    ]
    files = sorted(Path("launch").glob("*.launch.py")) + sorted(f for f in Path("config").rglob("*") if f.is_file())
    for folder in sorted({f.parent for f in files}):
        found.append((str(share / folder), [str(f) for f in files if f.parent == folder]))
    return found


setup(
    name=NAME,
    version="0.1.0",
    description="Resilient orchestration of a fleet of delivery drones on ROS 2 and etcd",
    license="Apache-2.0",
    maintainer="drone_orchestrator maintainers",
    maintainer_email="maintainers@drone-orchestrator.invalid",
    python_requires=">=3.10,<3.14",
    package_dir={"": "src"},
    packages=find_packages(where="src", include=[f"{NAME}*"]),
    package_data={NAME: ["gateway/static/*", "gateway/static/**/*"]},
    data_files=data_files(),
    zip_safe=False,
    # Only what has no rosdep key; all other dependencies are in package.xml, with the versions of a machine without
    # ROS in requirements/.
    install_requires=[
        "setuptools",
        "cslab-etcd3>=0.12.1",  # imports as etcd3
        "pybreaker>=1.2",
        "tenacity>=8.2",
    ],
    # Imported only where the environment asks for traces (docs/observability.md).
    extras_require={
        "traces": ["opentelemetry-sdk>=1.20", "opentelemetry-exporter-otlp-proto-grpc>=1.20"],
        "speed": ["httptools>=0.6", "orjson>=3.9"],  # HTTP and records are parsed by them where they are installed
        "test": ["pytest"],  # by which `colcon test` knows how
    },
    entry_points={
        "console_scripts": [
            f"orchestrator = {NAME}.nodes.programs:orchestrator",
            f"drone_executor = {NAME}.nodes.programs:drone_executor",
            f"saga_monitor = {NAME}.nodes.programs:saga_monitor",
            f"order_gateway = {NAME}.nodes.programs:order_gateway",
            f"fleetctl = {NAME}.cli.main:main",
        ],
        # A planner of another package becomes selectable by naming itself here.
        f"{NAME}.planners": [
            f"assignment = {NAME}.planning.planner:AssignmentPlanner",
        ],
        # So does what flies a drone: a function (setup, node), see nodes/drone_executor/flight_plugins.py.
        f"{NAME}.flight": [
            f"kinematic = {NAME}.nodes.drone_executor.flight_plugins:kinematic",
            f"gazebo = {NAME}.nodes.drone_executor.gazebo_link:gazebo",
        ],
    },
)
