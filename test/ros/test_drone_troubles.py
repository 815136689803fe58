"""A fault of one drone affects only that drone: the others of its process fly on, and it recovers by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from drone_interfaces.msg import DroneState
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_process import NodeProcess, Operator

from drone_orchestrator.ros import names, qos

pytestmark = pytest.mark.ros

#: A flight stack as another package would register it. For ``drone_2`` it does as a file says.
PLUGIN = """
import os
from pathlib import Path

from drone_orchestrator.flight.controller import FlightError
from drone_orchestrator.nodes.drone_executor.flight_plugins import kinematic


class Troubled:
    def __init__(self, setup, node):
        self._flight, self._orders = kinematic(setup, node), Path(os.environ["TROUBLE"])
        self._is_troubled = setup.drone_id == "drone_2"
        self._fail("make")

    def __getattr__(self, name):
        self._fail(name)
        return getattr(self._flight, name)

    def _fail(self, name):
        if self._is_troubled and self._orders.exists():
            where, kind = self._orders.read_text().split()
            if name in where.split(","):
                raise {"FlightError": FlightError, "RuntimeError": RuntimeError}[kind](f"no {name}")
"""
POINTS = "[drone_orchestrator.flight]\ntroubled = troubled:Troubled\n"
DRONES = ("drone_1", "drone_2", "drone_3")


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plugin = tmp_path / "plugin"
    info = plugin / "troubled-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "troubled.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: troubled\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TROUBLE", str(tmp_path / "trouble"))
    return tmp_path / "trouble"


@pytest.fixture
def executor(domain: int, tmp_path: Path, trouble: Path) -> Iterator[NodeProcess]:
    with NodeProcess(
        domain, "drone_executor", drone_ids=f"[{','.join(DRONES)}]", data_dir=tmp_path / "data", flight="troubled"
    ) as process:
        yield process


def hears(operator: Operator, *drone_ids: str) -> None:
    """Wait until each of these drones has published its state three times from now on."""
    heard: dict[str, int] = {}

    def count(state: DroneState) -> None:
        heard[state.drone_id] = heard.get(state.drone_id, 0) + 1

    subscription = operator.node.create_subscription(DroneState, names.DRONE_STATES, count, qos.drone_states())
    try:
        operator.wait(f"states of {drone_ids}", lambda: all(heard.get(each, 0) >= 3 for each in drone_ids))
    finally:
        operator.node.destroy_subscription(subscription)


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("step,close", "FlightError"),
        ("step,close", "RuntimeError"),
        ("state", "RuntimeError"),
        ("make,step", "RuntimeError"),
    ],
)
def test_a_controller_that_fails_takes_one_drone_out_of_service(
    executor: NodeProcess, operator: Operator, trouble: Path, where: str, kind: str
) -> None:
    hears(operator, *DRONES)
    trouble.with_name("new").write_text(f"{where} {kind}")
    trouble.with_name("new").rename(trouble)

    said = executor.wait_line("out of service")
    assert "[drone_2]" in said
    if "make" in where:  # it stays down
        operator.wait_state("/drone_2", "unconfigured")
    hears(operator, "drone_1", "drone_3")
    assert operator.state("/drone_1") == "active"
    assert executor.process.poll() is None

    trouble.unlink()
    operator.wait_state("/drone_2", "active")
    hears(operator, *DRONES)
    assert executor.stop() == 0


def test_a_drone_that_cannot_be_configured_logs_the_reason(
    domain: int, operator: Operator, tmp_path: Path, trouble: Path
) -> None:
    trouble.write_text("make RuntimeError")
    with NodeProcess(
        domain, "drone_executor", drone_ids=f"[{','.join(DRONES)}]", data_dir=tmp_path / "data", flight="troubled"
    ) as executor:
        hears(operator, "drone_1", "drone_3")
        status = operator.wait_status("drone_2: executor", lambda status: "no make" in status.message)
        assert "not configured: unexpected RuntimeError: no make" in status.message
        assert executor.stop() == 0


def test_a_drone_is_brought_back_to_the_state_it_had(executor: NodeProcess, operator: Operator, trouble: Path) -> None:
    hears(operator, *DRONES)
    assert operator.change_state("/drone_2", Transition.TRANSITION_DEACTIVATE)
    trouble.with_name("new").write_text("make,step FlightError")
    trouble.with_name("new").rename(trouble)
    operator.wait_state("/drone_2", "unconfigured")
    trouble.unlink()
    operator.wait_state("/drone_2", "inactive")
    hears(operator, "drone_1", "drone_3")
    assert operator.state("/drone_2") == "inactive"


@pytest.mark.parametrize("content", ["", '{"east_m": 1'])
def test_a_damaged_flight_state_does_not_keep_a_drone_down(
    domain: int, operator: Operator, tmp_path: Path, content: str
) -> None:
    state = tmp_path / "data" / "drones" / "drone_2.flight.json"
    state.parent.mkdir(parents=True)
    state.write_text(content)
    with NodeProcess(
        domain, "drone_executor", drone_ids=f"[{','.join(DRONES)}]", data_dir=tmp_path / "data"
    ) as executor:
        hears(operator, *DRONES)
        assert "not a flight state" in executor.wait_line("kept as")
        assert state.with_name(f"{state.name}.corrupt-1").read_text() == content


def test_a_transition_that_does_not_fit_is_refused(executor: NodeProcess, operator: Operator) -> None:
    hears(operator, *DRONES)
    wrong = Transition(id=Transition.TRANSITION_CONFIGURE)  # the drone is active
    answer = operator.call(ChangeState, "/drone_2/change_state", ChangeState.Request(transition=wrong))
    assert not answer.success
    hears(operator, *DRONES)
    assert executor.process.poll() is None
