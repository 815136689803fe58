"""Arguments and texts of the launch files, tested without launch."""

from __future__ import annotations

import ast
import dataclasses
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from drone_orchestrator.bringup import launch_arguments
from drone_orchestrator.bringup.launch_arguments import ArgumentError, fleet_options
from drone_orchestrator.bringup.plan import (
    READY_STATES,
    STOP_ORDER,
    FleetOptions,
    fitting_drones_per_process,
    processes,
)
from drone_orchestrator.ros import names

LAUNCH = Path(__file__).resolve().parents[3] / "launch"
OURS = sorted(path.name.removesuffix(".launch.py") for path in LAUNCH.glob("*.launch.py"))


def defaults(file: str, **given: str) -> dict[str, str]:
    return {each.name: each.default or "" for each in launch_arguments.of(file)} | given


def calls(tree: ast.AST, function: str) -> list[ast.Call]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == function]


def test_every_launch_file_lists_its_arguments_and_every_argument_is_used() -> None:
    assert set(OURS) == set(launch_arguments.FILES)
    assert {name for names in launch_arguments.FILES.values() for name in names} == set(launch_arguments.ARGUMENTS)


@pytest.mark.parametrize("file", OURS)
def test_a_launch_file_shows_its_command_and_declares_its_own_arguments(file: str) -> None:
    tree = ast.parse((LAUNCH / f"{file}.launch.py").read_text(encoding="utf-8"))
    documentation = ast.get_docstring(tree) or ""
    assert f"ros2 launch drone_orchestrator {file}.launch.py" in documentation
    assert [ast.literal_eval(call.args[0]) for call in calls(tree, "description")] == [file]
    assert len((LAUNCH / f"{file}.launch.py").read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("file", OURS)
def test_a_launch_file_accepts_every_argument_of_the_files_it_includes(file: str) -> None:
    text = (LAUNCH / f"{file}.launch.py").read_text(encoding="utf-8")
    included = [other for other in OURS if other != file and f'"{other}"' in text and "include(" in text]
    single = {"replica"} if "replicas" in launch_arguments.FILES[file] else {"replicas"}
    taken = set(launch_arguments.FILES[file])
    for other in included:
        assert set(launch_arguments.FILES[other]) - single <= taken, f"{file} includes {other}"


@pytest.mark.parametrize("file", OURS)
def test_every_argument_is_described(file: str) -> None:
    for argument in launch_arguments.of(file):
        assert argument.description.endswith("."), argument
        assert not argument.choices or argument.default in argument.choices


@pytest.mark.parametrize("file", OURS)
def test_the_defaults_of_a_launch_file_describe_a_fleet(file: str) -> None:
    if file != "rviz":
        assert processes(fleet_options(defaults(file, drone_id="drone_7" if file == "drone" else "")))


def test_a_value_comes_from_the_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = launch_arguments.ARGUMENTS["etcd_endpoints"]
    monkeypatch.delenv("ETCD_ENDPOINTS", raising=False)
    assert endpoints.value == "127.0.0.1:2379"
    monkeypatch.setenv("ETCD_ENDPOINTS", "store:2379")
    assert endpoints.value == "store:2379"
    assert next(each for each in launch_arguments.of("fleet") if each.name == "etcd_endpoints").value == "store:2379"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"drones": "many"}, "drones must be a whole number"),
        ({"drones": "-1"}, "drones must be between 0 and 1000"),
        ({"time_scale": "fast"}, "time_scale must be a number"),
        ({"time_scale": "0"}, "time_scale must be a positive number"),
        ({"use_sim_time": "perhaps"}, "use_sim_time must be true or false"),
        ({"params_file": "/nowhere.yaml"}, "params_file: /nowhere.yaml: No such file"),
        ({"fleet_config": "/nowhere.yaml"}, "/nowhere.yaml: No such file"),
        ({"namespace": "2024"}, "namespace must be words of letters, .* got '2024'"),
        ({"region": "a/b"}, "region must be printable ASCII without '/', got 'a/b'"),
    ],
)
def test_an_invalid_value_is_refused_in_one_line(given: dict[str, str], named: str) -> None:
    with pytest.raises(ArgumentError, match=named) as refused:
        fleet_options(defaults("fleet", **given))
    assert "\n" not in str(refused.value)


def test_a_switch_is_taken_as_other_launch_files_pass_it_on() -> None:
    for file in OURS:
        for argument in launch_arguments.of(file):
            if argument.choices == ("true", "false"):
                assert {"True", "False"} <= set(argument.accepted)
                assert argument.read("True") == "true"
    level = launch_arguments.ARGUMENTS["log_level"]
    assert "INFO" in level.accepted and level.read("INFO") == "info"
    assert fleet_options(defaults("fleet", use_sim_time="True")).use_sim_time


@pytest.mark.parametrize("name", ["params_file", "fleet_config", "data_dir", "world", "models", "rviz_config"])
def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert launch_arguments.ARGUMENTS[name].read("~/there") == "/home/somebody/there"
    assert launch_arguments.ARGUMENTS[name].read("") == ""
    with pytest.raises(ArgumentError, match=f"{name}: ~nobody_of_this_name/there: there is no such home folder"):
        launch_arguments.ARGUMENTS[name].read("~nobody_of_this_name/there")


def test_a_file_without_parameters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- just a list\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"params_file: .*mine.yaml:1: must be a mapping, got a list"):
        fleet_options(defaults("fleet", params_file=str(path)))


def test_a_single_drone_gets_one_executor() -> None:
    values = defaults("drone", drone_id="drone_7", drone_class="heavy", flight="mine", namespace="/north/")
    [spec] = [each for each in processes(fleet_options(values)) if each.role == "drones"]
    assert spec.parameters["drone_ids"] == ["drone_7"]
    assert (spec.parameters["drone_class"], spec.parameters["flight"], spec.namespace) == ("heavy", "mine", "north")
    assert spec.lifecycle_nodes == ("drone_7",)


def test_the_replica_of_a_ground_station_is_named_after_its_host() -> None:
    assert launch_arguments.host_replica("Ground-2.example.org") == "orchestrator_ground_2_example_org"
    assert launch_arguments.host_replica("--") == "orchestrator_here"
    values = {each.name: each.value or "" for each in launch_arguments.of("ground_station")}
    specs = [each for each in processes(fleet_options(values)) if each.role == "orchestrator"]
    assert [spec.node_name for spec in specs] == [launch_arguments.host_replica()]


def test_a_parameter_file_sets_what_no_argument_sets(tmp_path: Path) -> None:
    """It applies to every replica, whatever its name. Launch arguments take precedence."""
    path = tmp_path / "mine.yaml"
    wanted = {"lease_ttl_s": 3.0, "max_attempts": 4, "region": "elsewhere"}
    path.write_text(yaml.safe_dump({"/**/orchestrator": {"ros__parameters": wanted}}), encoding="utf-8")
    options = FleetOptions(params_file=str(path), max_attempts=5, region="here")
    replicas = [each for each in processes(options) if each.role == "orchestrator"]
    assert len(replicas) == 3
    for spec in replicas:
        assert (spec.parameters["lease_ttl_s"], spec.parameters["max_attempts"]) == (3.0, 5)
        assert spec.parameters["region"] == "here"
        assert ["--params-file", str(path)] == spec.arguments()[-2 * len(spec.parameters) - 2 :][:2]


@pytest.mark.parametrize("section", ["drone_executor", "/**/drone_executor", "/north/drone_executor"])
def test_a_section_of_a_program_applies_to_its_nodes_and_one_of_a_node_comes_first(
    section: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    document = {
        "drone_executor_drone_3": {"ros__parameters": {"telemetry_rate_hz": 4.0}},
        section: {"ros__parameters": {"telemetry_rate_hz": 3.0, "autostart": False}},
        "somebody_else": {"ros__parameters": {"telemetry_rate_hz": 9.0}},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    ids = ("drone_1", "drone_2", "drone_3", "drone_4")
    options = FleetOptions(params_file=str(path), drone_ids=ids, drones_per_process=2, namespace="/north")
    first, second = (each for each in processes(options) if each.role == "drones")
    assert [first.node_name, second.node_name] == ["drone_executor_drone_1", "drone_executor_drone_3"]
    assert [each.parameters["telemetry_rate_hz"] for each in (first, second)] == [3.0, 4.0]
    # A lifecycle manager starts them, so that no step of a launch may wait for them.
    assert first.lifecycle_nodes == second.lifecycle_nodes == ()


def test_overrides_of_qos_may_be_nested_as_ros_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    override = {"/drone_states": {"subscription": {"depth": 5}}}
    path.write_text(
        yaml.safe_dump({"saga_monitor": {"ros__parameters": {"qos_overrides": override}}}), encoding="utf-8"
    )
    [monitor] = [each for each in processes(FleetOptions(params_file=str(path))) if each.role == "monitor"]
    assert monitor.parameters["qos_overrides./drone_states.subscription.depth"] == 5


@pytest.mark.parametrize("file", ["ground_station", "edge", "monitor", "gateway", "fleet"])
def test_node_names_are_unique_in_a_fleet(file: str) -> None:
    """Two processes of one name answer ``ros2 param`` in turn, and hide each other's diagnostics."""
    given = {"region": "bay"} if file == "edge" else {}
    values = {each.name: each.value or "" for each in launch_arguments.of(file)} | given
    here, there = (
        [spec.node_name for spec in processes(fleet_options(values | {"host": host, "replica": f"on_{host}"}))]
        for host in ("one", "two")
    )
    assert len(set(here)) == len(here)
    if file != "fleet":
        assert not {name for name in here if "drone_executor" not in name} & set(there)
    else:
        specs = processes(fleet_options(values))
        assert [each.node_name for each in specs if each.role in ("monitor", "gateway")] == [
            "saga_monitor",
            "order_gateway",
        ]


@pytest.mark.parametrize(("drones", "shared"), [(1, 2), (6, 2), (16, 2), (24, 3), (100, 13), (200, 25)])
def test_a_large_fleet_has_few_processes(drones: int, shared: int) -> None:
    assert fitting_drones_per_process(drones) == shared
    hosts = [each for each in processes(FleetOptions(drones=drones)) if each.role == "drones"]
    assert sum(len(each.lifecycle_nodes) for each in hosts) == drones
    assert len(hosts) <= 8 + 3  # the last one of each class may have room


def test_the_default_settings_are_the_nodes_own_defaults() -> None:
    """Therefore the plan may leave them out."""
    options = {each.name: each.default for each in dataclasses.fields(FleetOptions)}
    # Always passed, log_level as --log-level.
    own = {"region", "etcd_endpoints", "drone_ids", "drone_class", "log_level"}
    for name in ("orchestrator", "drone_executor", "order_gateway", "saga_monitor"):
        for param in import_module(f"drone_orchestrator.nodes.{name}.parameters").PARAMETERS:
            if param.name in options and param.name not in own:
                assert param.default == options[param.name], param.name


def test_a_fleet_starts_in_the_reverse_order_of_its_shutdown() -> None:
    roles = list(dict.fromkeys(spec.role for spec in processes(FleetOptions())))
    assert roles == list(reversed(STOP_ORDER))
    for spec in processes(FleetOptions()):
        assert bool(spec.lifecycle_nodes) == (spec.role in READY_STATES)


PAGES = [*LAUNCH.parent.glob("*.md"), *(LAUNCH.parent / "docs").rglob("*.md"), *LAUNCH.glob("*.py")]
COMMANDS = [
    (page.name, *match.groups())
    for page in PAGES
    for match in re.finditer(
        r"ros2 launch drone_orchestrator (\w+)\.launch\.py((?:[^\n`#]|\\\n)*)", page.read_text(encoding="utf-8")
    )
]


@pytest.mark.parametrize(("page", "file", "rest"), COMMANDS, ids=lambda each: each.strip()[:40])
def test_a_documented_launch_command_names_existing_arguments(page: str, file: str, rest: str) -> None:
    assert file in OURS, f"{page}: there is no {file}.launch.py"
    if file in OURS:
        assert set(re.findall(r"(\w+):=", rest)) <= set(launch_arguments.FILES[file]), f"{page}: {file}.launch.py{rest}"


def test_a_recording_has_every_topic_except_the_heartbeat() -> None:
    lines = (LAUNCH.parent / "config" / "bag_topics.txt").read_text(encoding="utf-8").splitlines()
    recorded = re.compile(f"/({'|'.join(line for line in lines if not line.startswith('#'))})$")
    other = {names.REQUEST_CLEARANCE, names.SUBMIT_ORDER, names.CANCEL_ORDER, names.MAP_FRAME}
    said = {v for k, v in vars(names).items() if k.isupper() and isinstance(v, str) and re.fullmatch(r"/?[a-z_]+", v)}
    shown = {name("drone_12") for name in (names.drone_telemetry, names.drone_pose, names.drone_path)}
    topics = {*(said - other), *shown}
    assert {names.LEADER, names.DIAGNOSTICS} < topics
    assert {t for t in topics if not recorded.search(f"/north/{t.strip('/')}")} == {names.LEADER_HEARTBEAT}
