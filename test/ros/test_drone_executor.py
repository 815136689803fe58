"""A real drone executor process on DDS; the test plays the leader."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"  # processes are killed here; shared memory could hang the next one

pytest.importorskip("rclpy")
import rclpy
from action_msgs.msg import GoalStatus
from action_msgs.srv import CancelGoal
from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import DroneState, DroneTelemetry, LeaderState
from drone_interfaces.srv import RequestClearance
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.core.drone.events import EpochRaised, Grounded
from drone_orchestrator.core.types import AcknowledgeOutcome, DroneReport, GeoPoint, Order, Outcome, Phase, Verdict
from drone_orchestrator.ros import messages, names, qos
from drone_orchestrator.runtime.drone_journal import DroneJournal, read_entries
from drone_orchestrator.runtime.out_of_service import OutOfServiceMark

pytestmark = pytest.mark.ros

DRONE = "drone_1"
DEADLINE_S = 90.0
#: Interval (s) at which an unanswered request is sent again.
AGAIN_S = 2.0
TIME_SCALE = 20.0

FLEET = """
region: test
depot: {lat_deg: 37.7577, lon_deg: -122.3876}
service_radius_m: 8000.0
drone_classes:
  courier: {max_payload_kg: 3.0, cruise_speed_mps: 20.0, climb_speed_mps: 5.0, cruise_altitude_m: 10.0,
            battery_wh: 550.0, empty_mass_kg: 6.0, hover_power_w: 700.0, load_time_s: 6.0, drop_time_s: 2.0}
pattern: [courier]
"""
NEAR = GeoPoint(37.7595, -122.3876)  # 200 m north of the depot
FAR = GeoPoint(37.7850, -122.3876)  # 3 km: the flight takes some seconds at this time scale


def order(message_id: str = "m1", destination: GeoPoint = NEAR) -> Order:
    return Order(message_id, f"order-{message_id}", destination, 1.0, submitted_at=0.0)


class Process:
    """One ``drone_executor`` process."""

    def __init__(self, domain: int, folder: Path, *extra: str) -> None:
        self.log_path = folder / f"stderr-{time.monotonic_ns()}.log"
        settings = {
            "drone_ids": f"[{DRONE}]",
            "data_dir": folder,
            "fleet_config": folder / "fleet.yaml",
            "time_scale": TIME_SCALE,
            "clearance_retry_s": 0.2,
        }
        arguments = [part for name, value in settings.items() for part in ("-p", f"{name}:={value}")]
        with self.log_path.open("w") as log:
            self.popen = subprocess.Popen(
                [
                    *dies_with_parent(),
                    sys.executable,
                    "-m",
                    "drone_orchestrator.nodes.drone_executor",
                    "--ros-args",
                    *arguments,
                    *extra,
                ],
                env={**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder / "log")},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(DEADLINE_S)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(signum)
        return self.popen.wait(DEADLINE_S)


class Leader:
    """An orchestrator played by the test. It records what the drones publish."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("leader", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.epoch = 5
        self.verdict = Verdict.GRANTED
        self.requests: list[RequestClearance.Request] = []
        self.states: list[DroneReport] = []
        self.telemetry: list[DroneTelemetry] = []
        self.feedback: list[Any] = []
        self.node.create_service(RequestClearance, names.REQUEST_CLEARANCE, self._asked)
        self.node.create_subscription(DroneState, names.DRONE_STATES, self._heard, qos.state(depth=10))
        self.node.create_subscription(
            DroneTelemetry, names.drone_telemetry(DRONE), self.telemetry.append, qos.telemetry()
        )
        self.publisher = self.node.create_publisher(LeaderState, names.LEADER, qos.state())
        self.connect()

    def connect(self) -> None:
        """Create a new client, which knows no goal: rclpy's takes a goal that is accepted again for an error."""
        self.client = ActionClient(self.node, ExecuteDelivery, names.drone_action(DRONE))

    def _asked(self, request: RequestClearance.Request, answer: RequestClearance.Response) -> RequestClearance.Response:
        self.requests.append(request)
        answer.verdict, answer.epoch, answer.reason = int(self.verdict), self.epoch, "test"
        answer.message_id, answer.attempt, answer.journal_id = request.message_id, request.attempt, request.journal_id
        return answer

    def _heard(self, message: DroneState) -> None:
        self.states.append(messages.report_from_msg(message))

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Spin until ``condition()`` is true, and return its value. Fails after the deadline."""
        end = time.monotonic() + DEADLINE_S
        while not (result := condition()):
            assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s; last state {self.states[-1:]}"
            self.executor.spin_once(timeout_sec=0.1)
        return result

    def wait_phase(self, *phases: Phase) -> DroneReport:
        return self.wait(lambda: self.states and self.states[-1].phase in phases and self.states[-1], str(phases))

    def answer(self, ask: Callable[[], Any], what: str) -> Any:
        """Return the first answer to ``ask()``, repeated until there is one.

        A drone drops its answer to a client that it has not discovered yet, and the client cannot see that. An
        orchestrator repeats its goals for the same reason.
        """
        asked: list[Any] = []
        again_s = 0.0

        def answered() -> Any:
            nonlocal again_s
            if time.monotonic() >= again_s:
                asked.append(ask())
                again_s = time.monotonic() + AGAIN_S
            return next((future for future in asked if future.done()), None)

        return self.wait(answered, what).result()

    def ready(self) -> DroneReport:
        """Return the drone's state once it is up and has answered a goal: after that no answer is lost."""
        self.states.clear()
        self.wait(self.client.server_is_ready, "action server")
        state = self.wait(lambda: self.states and self.states[-1], "state")
        no_epoch = messages.goal_to_msg(order("no-epoch"), 1, 0, "test")  # every drone refuses it
        assert not self.answer(lambda: self.client.send_goal_async(no_epoch), "answer to a first goal").accepted
        return state

    def announce(self, epoch: int, acks: list[AcknowledgeOutcome] | None = None) -> None:
        self.epoch = epoch
        acknowledged = [messages.ack_to_msg(ack) for ack in acks or []]
        self.publisher.publish(LeaderState(epoch=epoch, instance_id="test", region="test", acknowledged=acknowledged))

    def send(self, order: Order, attempt: int = 1, epoch: int = 5) -> Any:
        goal = messages.goal_to_msg(order, attempt, epoch, "test")
        uuid = messages.goal_uuid(order.message_id, attempt)
        future = self.client.send_goal_async(goal, self.feedback.append, goal_uuid=uuid)
        self.wait(future.done, "answer to the goal")
        return future.result()

    def result(self, handle: Any) -> Any:
        return self.answer(handle.get_result_async, "result of the goal")

    def lifecycle(self, transition: int) -> bool:
        client = self.node.create_client(ChangeState, f"{DRONE}/change_state")
        self.wait(client.service_is_ready, "lifecycle service")
        none = ChangeState.Request(transition=Transition(label="none"))  # every node answers "no"
        self.answer(lambda: client.call_async(none), "answer of the lifecycle service")
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.wait(future.done, "lifecycle transition")
        self.node.destroy_client(client)
        return bool(future.result().success)

    def close(self) -> None:
        self.client.destroy()
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    return tmp_path


@pytest.fixture
def start(domain: int, folder: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*extra: str) -> Process:
        started.append(Process(domain, folder, *extra))
        return started[-1]

    yield begin
    for process in started:
        if process.popen.poll() is None:
            process.kill()


@pytest.fixture
def leader(domain: int) -> Iterator[Leader]:
    leader = Leader(domain)
    yield leader
    leader.close()


def test_a_delivery_from_goal_to_acknowledgement(leader: Leader, start: Callable[..., Process]) -> None:
    process = start()
    idle = leader.ready()
    handle = leader.send(order(), epoch=5)
    assert handle.accepted
    result = leader.result(handle)
    assert (result.status, result.result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Outcome.DELIVERED)
    assert result.result.journal_id == idle.journal_id
    request = leader.requests[0]
    assert (request.drone_id, request.message_id, request.attempt) == (DRONE, "m1", 1)
    assert (request.journal_id, request.highest_epoch) == (idle.journal_id, 5)
    assert any(state.package_on_board for state in leader.states)
    assert leader.feedback
    assert leader.telemetry

    reported = leader.wait(lambda: leader.states[-1].outcomes and leader.states[-1], "outcome in the state")
    assert [(o.message_id, o.attempt, o.outcome) for o in reported.outcomes] == [("m1", 1, Outcome.DELIVERED)]
    leader.announce(5, [AcknowledgeOutcome(DRONE, idle.journal_id, "m1", 1, Outcome.DELIVERED)])
    leader.wait(lambda: not leader.states[-1].outcomes, "acknowledged outcome to disappear")
    leader.wait_phase(Phase.IDLE)
    assert process.stop() == 0, process.log


def test_a_deposed_leader_s_command_is_refused(leader: Leader, start: Callable[..., Process]) -> None:
    start()
    leader.ready()
    leader.announce(9)
    leader.wait(lambda: leader.states[-1].highest_epoch == 9, "epoch")
    assert not leader.send(order(), epoch=8).accepted
    assert leader.send(order(), epoch=9).accepted


def test_a_drone_killed_with_the_package_on_board_comes_back_and_delivers_once(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    process = start()
    leader.ready()
    assert leader.send(order(destination=FAR)).accepted
    before = leader.wait_phase(Phase.TO_DESTINATION)
    process.kill()
    asked = len(leader.requests)
    start()
    leader.connect()
    after = leader.ready()
    assert after.journal_id == before.journal_id
    assert (after.message_id, after.package_on_board) == ("m1", True)
    handle = leader.send(order(destination=FAR))  # as an orchestrator does after losing the connection
    assert handle.accepted
    assert leader.result(handle).result.outcome == Outcome.DELIVERED
    assert len(leader.requests) == asked
    _, entries = read_entries(folder / "drones" / f"{DRONE}.journal")
    kinds = [type(entry).__name__ for entry in entries]
    assert kinds == ["GoalAccepted", "Cleared", "Loaded", "Dropping", "Closed"]


def test_a_repeated_goal_is_the_same_goal_and_a_closed_one_is_refused(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    process = start()
    leader.ready()
    first = leader.send(order())
    leader.send(order())
    assert leader.result(first).result.outcome == Outcome.DELIVERED
    _, entries = read_entries(folder / "drones" / f"{DRONE}.journal")
    assert [type(entry).__name__ for entry in entries].count("GoalAccepted") == 1
    process.kill()
    start()
    leader.ready()
    assert not leader.send(order()).accepted
    assert leader.send(order(), attempt=2).accepted


def test_a_recalled_goal_is_closed_and_never_loads(leader: Leader, start: Callable[..., Process]) -> None:
    start()
    leader.ready()
    leader.verdict = Verdict.ASK_AGAIN
    handle = leader.send(order())
    leader.wait(lambda: len(leader.requests) >= 2, "second request for clearance")
    leader.answer(handle.cancel_goal_async, "answer to the recall")
    result = leader.result(handle)
    assert (result.status, result.result.outcome) == (GoalStatus.STATUS_CANCELED, Outcome.NOT_LOADED)
    assert result.result.reason == "recalled"


def test_a_recall_reaches_a_drone_whose_program_restarted_with_the_package_on_board(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    process = start()
    leader.ready()
    assert leader.send(order(destination=FAR)).accepted
    leader.wait_phase(Phase.TO_DESTINATION)
    process.kill()
    start()
    leader.ready()
    leader.wait_phase(Phase.TO_DESTINATION)
    cancels = leader.node.create_client(CancelGoal, f"{names.drone_action(DRONE)}/_action/cancel_goal")
    leader.wait(cancels.service_is_ready, "cancel service")

    def cancel(attempt: int) -> CancelGoal.Response:
        request = CancelGoal.Request()
        request.goal_info.goal_id = messages.goal_uuid("m1", attempt)
        return leader.answer(lambda: cancels.call_async(request), "answer to the recall")

    assert cancel(2).return_code == CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID
    assert leader.states[-1].phase is Phase.TO_DESTINATION
    answer = cancel(1)
    assert (answer.return_code, len(answer.goals_canceling)) == (CancelGoal.Response.ERROR_NONE, 1)
    ended = leader.wait(lambda: leader.states[-1].outcomes and leader.states[-1], "outcome in the state")
    assert [(o.attempt, o.outcome, o.reason) for o in ended.outcomes] == [(1, Outcome.RETURNED, "recalled")]
    _, entries = read_entries(folder / "drones" / f"{DRONE}.journal")
    kinds = [type(entry).__name__ for entry in entries]
    assert kinds == ["GoalAccepted", "Cleared", "Loaded", "Recalled", "Unloading", "Closed"]


def test_a_refusal_ends_the_goal_without_loading(leader: Leader, start: Callable[..., Process]) -> None:
    start()
    leader.ready()
    leader.verdict = Verdict.REFUSED
    result = leader.result(leader.send(order()))
    assert (result.status, result.result.outcome) == (GoalStatus.STATUS_ABORTED, Outcome.NOT_LOADED)


def test_a_corrupt_journal_means_a_new_identity_and_a_logged_error(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    process = start()
    before = leader.ready()
    leader.announce(7)
    leader.wait(lambda: leader.states[-1].highest_epoch == 7, "epoch")
    leader.announce(8)
    leader.wait(lambda: leader.states[-1].highest_epoch == 8, "epoch")
    assert process.stop() == 0
    path = folder / "drones" / f"{DRONE}.journal"
    data = bytearray(path.read_bytes())
    data[data.index(b"EpochRaised")] ^= 0xFF
    path.write_bytes(data)
    again = start()
    leader.wait(lambda: leader.states[-1].journal_id != before.journal_id, "new identity")
    assert "JOURNAL LOST" in again.log
    assert path.with_name(f"{path.name}.corrupt-1").read_bytes() == data
    assert leader.wait_phase(Phase.IDLE).highest_epoch in (0, 8)  # 8 once the latched leader state is heard


def test_a_process_waits_for_a_locked_journal(leader: Leader, start: Callable[..., Process]) -> None:
    first = start()
    before = leader.ready()
    second = start()
    leader.wait(lambda: "another process has opened this journal" in second.log, "one clear line")
    assert second.popen.poll() is None
    first.kill()
    leader.states.clear()
    after = leader.wait(lambda: leader.states and leader.states[-1], "the second process to take over")
    assert after.journal_id == before.journal_id


def test_a_journal_that_cannot_be_written_stops_the_drone_until_it_can_be(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    path = folder / "drones" / f"{DRONE}.journal"
    journal = DroneJournal.open(path)
    for epoch in range(1, 1001):
        journal.append(EpochRaised(epoch))
    journal.close()
    process = start()
    leader.ready()
    size = path.stat().st_size  # more than the log reaches: only the journal hits the limit
    unlimited = resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (size, unlimited[1]))
    leader.announce(1001)
    leader.wait_phase(Phase.GROUNDED)  # so that no leader assigns it an order
    assert leader.states[-1].highest_epoch == 1000
    assert "no commands accepted until the journal can be written" in process.log
    assert not leader.send(order("refused"), epoch=1001).accepted
    assert process.popen.poll() is None

    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, unlimited)
    leader.wait_phase(Phase.IDLE)
    leader.announce(1001)
    leader.wait(lambda: leader.states[-1].highest_epoch == 1001, "the epoch that could not be written")
    assert leader.result(leader.send(order("taken"), epoch=1001)).result.outcome == Outcome.DELIVERED
    assert process.stop() == 0
    assert len(read_entries(path)[1]) >= 1001, "records are lost"


def test_an_inactive_drone_takes_no_goal_until_it_is_activated_again(
    leader: Leader, start: Callable[..., Process]
) -> None:
    start()
    leader.ready()
    assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    leader.wait_phase(Phase.GROUNDED)  # so that no leader assigns it an order before it counts as silent
    assert not leader.send(order("refused")).accepted
    assert leader.lifecycle(Transition.TRANSITION_ACTIVATE)
    leader.wait_phase(Phase.IDLE)
    assert leader.send(order("taken")).accepted


def test_a_drone_taken_out_in_flight_finishes_its_order_and_says_from_then_on_that_it_takes_none(
    leader: Leader, start: Callable[..., Process]
) -> None:
    start()
    leader.ready()
    handle = leader.send(order(destination=FAR))
    leader.wait_phase(Phase.TO_DESTINATION)
    assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    assert leader.result(handle).result.outcome == Outcome.DELIVERED
    heard = leader.wait(lambda: leader.states[-1].outcomes and leader.states[-1], "outcome in the state")
    leader.announce(5, [AcknowledgeOutcome(DRONE, heard.journal_id, "m1", 1, Outcome.DELIVERED)])
    assert (heard.phase, heard.grounded_reason) == (Phase.GROUNDED, "out_of_service")
    assert not leader.send(order("refused")).accepted
    # On its way home a leader would take it for free.
    phases = [state.phase for state in leader.states]
    assert Phase.RETURNING not in phases[phases.index(Phase.GROUNDED) :]


def test_a_drone_that_was_taken_out_stays_out_when_its_process_restarts(
    leader: Leader, start: Callable[..., Process]
) -> None:
    process = start()
    leader.ready()
    assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    leader.wait_phase(Phase.GROUNDED)
    process.kill()
    leader.connect()
    process = start()
    state = leader.ready()
    assert (state.phase, state.grounded_reason) == (Phase.GROUNDED, "out_of_service"), process.log
    assert not leader.send(order("refused")).accepted
    assert "stays out of service" in process.log
    assert leader.lifecycle(Transition.TRANSITION_ACTIVATE)
    leader.wait_phase(Phase.IDLE)
    process.kill()
    leader.connect()
    start()
    leader.ready()
    leader.wait_phase(Phase.IDLE)
    assert leader.send(order("taken")).accepted


def test_a_grounding_is_lifted_by_the_activation_after_a_restart(
    leader: Leader, start: Callable[..., Process], folder: Path
) -> None:
    journal = DroneJournal.open(folder / "drones" / f"{DRONE}.journal")
    journal.append(Grounded("motor_failure"))
    journal.close()
    OutOfServiceMark(folder / "drones" / f"{DRONE}.out_of_service").set()
    start()
    state = leader.ready()
    assert (state.phase, state.grounded_reason) == (Phase.GROUNDED, "motor_failure")
    assert leader.lifecycle(Transition.TRANSITION_ACTIVATE)
    leader.wait_phase(Phase.IDLE)


@pytest.mark.parametrize("shutdown", [Transition.TRANSITION_ACTIVE_SHUTDOWN, Transition.TRANSITION_INACTIVE_SHUTDOWN])
def test_a_drone_is_shut_down_only_when_it_has_landed_and_is_empty(
    leader: Leader, start: Callable[..., Process], shutdown: int
) -> None:
    process = start()
    leader.ready()
    handle = leader.send(order(destination=FAR))
    leader.wait_phase(Phase.TO_DESTINATION)
    if shutdown == Transition.TRANSITION_INACTIVE_SHUTDOWN:
        assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    assert not leader.lifecycle(shutdown)
    assert "refused: it is carrying out order order-m1" in process.log
    assert leader.result(handle).result.outcome == Outcome.DELIVERED
    heard = leader.wait(lambda: leader.states[-1].outcomes and leader.states[-1], "outcome in the state")
    leader.announce(5, [AcknowledgeOutcome(DRONE, heard.journal_id, "m1", 1, Outcome.DELIVERED)])
    leader.wait(lambda: not leader.states[-1].outcomes, "acknowledgement")
    if shutdown == Transition.TRANSITION_INACTIVE_SHUTDOWN:
        assert not leader.lifecycle(Transition.TRANSITION_CLEANUP), "it is on its way home"
        assert "refused: it is in the air" in process.log
    leader.wait(lambda: leader.lifecycle(shutdown), "shutdown at the depot")
    assert process.stop() == 0, process.log


def test_a_drone_with_a_payload_is_not_cleaned_up(leader: Leader, start: Callable[..., Process]) -> None:
    start()
    leader.ready()
    handle = leader.send(order(destination=FAR))
    leader.wait_phase(Phase.TO_DESTINATION)
    assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    assert not leader.lifecycle(Transition.TRANSITION_CLEANUP)
    assert leader.result(handle).result.outcome == Outcome.DELIVERED


def test_a_drone_can_be_cleaned_up_and_configured_again(leader: Leader, start: Callable[..., Process]) -> None:
    process = start()
    before = leader.ready()
    assert leader.lifecycle(Transition.TRANSITION_DEACTIVATE)
    assert leader.lifecycle(Transition.TRANSITION_CLEANUP)
    assert leader.lifecycle(Transition.TRANSITION_CONFIGURE)
    assert leader.lifecycle(Transition.TRANSITION_ACTIVATE)
    assert leader.ready().journal_id == before.journal_id
    assert process.stop(signal.SIGINT) == 0, process.log


def test_goals_that_arrive_while_it_is_cleaned_up_are_refused_and_do_not_end_it(
    leader: Leader, start: Callable[..., Process]
) -> None:
    process = start()
    leader.ready()
    sent = []
    for transition in 5 * [
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ]:
        for _ in range(5):  # from a deposed leader: the drone refuses them in any state
            goal = messages.goal_to_msg(order(), 1, 0, "test")
            sent.append(leader.client.send_goal_async(goal, goal_uuid=messages.goal_uuid("m1", len(sent))))
        assert leader.lifecycle(transition)
    leader.wait(lambda: any(each.done() for each in sent), "an answer")  # a server's queue holds ten: some are lost
    assert not any(each.result().accepted for each in sent if each.done())
    leader.wait(lambda: leader.send(order("taken")).accepted, "a goal to be taken")
    assert process.stop() == 0, process.log


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("tme_scale:=2.0", "parameter tme_scale: unknown to drone_executor; did you mean time_scale?"),
        ("state_period_s:=60.0", "parameter state_period_s: must be in 0.05 .. 2 s, got 60.0"),
        ("autostart:=7", "parameter autostart: must be of type bool, got 7"),
        ("drone_class:=zeppelin", "parameter drone_class: must be one of courier"),
        ("drone_ids:=[Drone-1]", "parameter drone_ids: drone id must be lower-case letters"),
        ("fleet_config:=/nowhere.yaml", "parameter fleet_config: /nowhere.yaml: No such file or directory"),
    ],
    ids=lambda value: value.split(":")[0],
)
def test_a_wrong_parameter_is_one_line_and_exit_code_2(start: Callable[..., Process], argument: str, says: str) -> None:
    process = start("-p", argument)
    assert process.popen.wait(DEADLINE_S) == 2, process.log
    assert len(process.log.splitlines()) == 1, process.log
    assert says in process.log
