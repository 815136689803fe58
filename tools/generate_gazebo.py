#!/usr/bin/env python3
"""Generate config/gazebo: the world, and a quadrotor for each drone class of config/fleet.yaml. A test compares them.

Masses and speeds come from the fleet configuration. The rest follows from geometry: inertias are those of boxes and
cylinders, thrust is that of a propeller (T = C_T ρ n² D⁴, torque C_P ρ n² D⁵ / 2π), and the gains of Gazebo's velocity
controller are scaled by mass and inertia, which it divides them by, so that both quadrotors answer alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.bringup.gazebo import zone_model
from drone_orchestrator.core.types import DroneClass, FleetSpec, GeoPoint, NoFlyZone

ROOT = Path(__file__).resolve().parents[1]
GAZEBO = ROOT / "config" / "gazebo"
HEAD = "<!-- Written by tools/generate_gazebo.py: change that, then run it. -->"

AIR_KG_PER_M3 = 1.225
#: Of a usual two-blade propeller near hover (J. G. Leishman, Principles of Helicopter Aerodynamics, 2nd ed., §2).
THRUST_COEFFICIENT, POWER_COEFFICIENT = 0.10, 0.045
ROTOR_SHARE = 0.03  # of the empty mass, for each of the four rotors
#: What the controller makes of errors: 1/s of velocity, rad/s² per rad of attitude, 1/s of angular rate.
VELOCITY_GAIN, ATTITUDE_GAIN, RATE_GAIN = 2.5, (55.0, 55.0, 1.5), (11.0, 11.0, 1.8)
MAX_ACCELERATION_MPS2 = 4.0


@dataclass(frozen=True)
class Airframe:
    """Dimensions of a quadrotor (m), and ``max_rpm`` of its propellers."""

    body: tuple[float, float, float]
    arm: float  # from the middle to a rotor's axis
    propeller: float  # diameter
    legs: float
    max_rpm: float
    color: str


AIRFRAMES = {
    "courier": Airframe((0.42, 0.30, 0.14), 0.46, 0.4572, 0.22, 6000.0, "0.95 0.55 0.10 1"),
    "heavy": Airframe((0.62, 0.46, 0.20), 0.72, 0.7112, 0.30, 4200.0, "0.15 0.35 0.75 1"),
}

#: Houses of the town: east, north, length (east), width (north), height, in metres.
HOUSES = (
    (60, 42, 26, 16, 12), (96, 42, 24, 16, 18), (130, 44, 22, 18, 9), (60, 78, 22, 20, 24), (96, 80, 26, 18, 14),
    (132, 80, 24, 20, 30), (60, 116, 26, 18, 10), (98, 118, 22, 22, 16), (134, 116, 26, 18, 12), (170, 60, 20, 34, 20),
    (170, 108, 20, 30, 8), (62, -40, 24, 16, 10), (98, -42, 26, 20, 22), (136, -40, 24, 16, 14), (64, -78, 26, 20, 16),
    (102, -80, 24, 18, 9), (140, -78, 22, 20, 26), (-62, 48, 24, 18, 8), (-64, 84, 26, 20, 12), (-100, 50, 22, 22, 10),
    (-102, 90, 26, 18, 18), (-60, -48, 28, 18, 7), (-98, -50, 24, 24, 12), (-64, -90, 22, 22, 15),
)  # fmt: skip
HOUSE_COLORS = ("0.80 0.76 0.70 1", "0.72 0.62 0.54 1", "0.62 0.66 0.72 1", "0.85 0.82 0.74 1")
ROOF_COLOR = "0.45 0.25 0.20 1"


def numbers(*values: float) -> str:
    """Return a vector as SDF writes it, with six significant digits, more than any value here is known to."""
    return " ".join(f"{0.0 if abs(value) < 1e-12 else value:.6g}" for value in values)


# --- quadrotors -------------------------------------------------------------------------------------------------------


def quadrotor(drone_class: DroneClass, frame: Airframe) -> str:
    """Return the SDF of one class. The model's origin is at its feet, so its height is 0 on the ground."""
    rotor_kg = ROTOR_SHARE * drone_class.empty_mass_kg
    body_kg = drone_class.empty_mass_kg - 4 * rotor_kg
    length, width, height = frame.body
    up = frame.legs + height / 2
    rotor_up = frame.legs + height + 0.03
    inertia = box_inertia(body_kg, *frame.body)
    places = rotor_places(frame)
    whole = [
        inertia[0] + sum(rotor_kg * y * y for _, y in places),
        inertia[1] + sum(rotor_kg * x * x for x, _ in places),
        inertia[2] + sum(rotor_kg * frame.arm**2 for _ in places),
    ]
    radius = frame.propeller / 2
    rotor_inertia = (
        rotor_kg * (radius**2 / 4 + 0.01**2 / 12),
        rotor_kg * (radius**2 / 4 + 0.01**2 / 12),
        rotor_kg * radius**2 / 2,
    )
    links = [rotor_link(i, x, y, rotor_up, rotor_kg, rotor_inertia, radius) for i, (x, y) in enumerate(places)]
    motors = [motor_plugin(i, frame) for i in range(4)]
    arms = "\n".join(arm_visual(i, x, y, height) for i, (x, y) in enumerate(places))
    legs = "\n".join(leg(i, side * width / 2, length, frame.legs, up) for i, side in enumerate((1, -1)))
    return f"""<?xml version="1.0"?>
{HEAD}
<!-- The quadrotor of class {drone_class.name}: {drone_class.empty_mass_kg:g} kg empty. Its package is a number of the
     executor's, and adds no weight here; the rotors would lift {drone_class.max_payload_kg:g} kg. -->
<sdf version="1.9">
  <model name="{drone_class.name}">
    <link name="base_link">
      <pose>0 0 {numbers(up)} 0 0 0</pose>
      <inertial>
        <mass>{numbers(body_kg)}</mass>
{inertia_xml(inertia, 8)}
      </inertial>
      <collision name="body_collision">
        <geometry><box><size>{numbers(*frame.body)}</size></box></geometry>
      </collision>
      <visual name="body_visual">
        <geometry><box><size>{numbers(*frame.body)}</size></box></geometry>
{material(frame.color, 8)}
      </visual>
      <visual name="nose">
        <pose>{numbers(length / 2)} 0 0 0 0 0</pose>
        <geometry><sphere><radius>{numbers(height / 3)}</radius></sphere></geometry>
{material("0.9 0.9 0.9 1", 8)}
      </visual>
{arms}
{legs}
    </link>
{"".join(links)}
{"".join(motors)}
{velocity_plugin(drone_class, frame, whole)}
    <!-- Pose and velocity as they are, in the axes of the world; bridged to drones/<id>/odometry. -->
    <plugin filename="gz-sim-odometry-publisher-system" name="gz::sim::systems::OdometryPublisher">
      <odom_frame>map</odom_frame>
      <odom_publish_frequency>30</odom_publish_frequency>
      <dimensions>3</dimensions>
    </plugin>
  </model>
</sdf>
"""


def rotor_places(frame: Airframe) -> list[tuple[float, float]]:
    """Return each rotor's place (forward, left): front right, back left, front left, back right, as autopilots do."""
    along = frame.arm / math.sqrt(2)
    return [(along, -along), (-along, along), (along, along), (-along, -along)]


def direction(index: int) -> int:
    """Return the direction of rotation, 1 counter-clockwise or -1 clockwise; opposite rotors turn alike."""
    return 1 if index < 2 else -1


def motor_constant(frame: Airframe) -> float:
    """Return the thrust coefficient (N per (rad/s)²)."""
    return THRUST_COEFFICIENT * AIR_KG_PER_M3 * frame.propeller**4 / (2 * math.pi) ** 2


def moment_constant(frame: Airframe) -> float:
    """Return the torque per thrust (N m per N)."""
    return POWER_COEFFICIENT * frame.propeller / (2 * math.pi * THRUST_COEFFICIENT)


def max_speed(frame: Airframe) -> float:
    """Return the maximum speed of a rotor (rad/s)."""
    return frame.max_rpm * 2 * math.pi / 60


def box_inertia(mass_kg: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return the moments of inertia of a box about its centre (kg m²)."""
    return mass_kg * (y * y + z * z) / 12, mass_kg * (x * x + z * z) / 12, mass_kg * (x * x + y * y) / 12


def inertia_xml(moments: tuple[float, float, float], indent: int) -> str:
    pad = " " * indent
    xx, yy, zz = (f"{each:.6g}" for each in moments)
    return f"{pad}<inertia><ixx>{xx}</ixx><iyy>{yy}</iyy><izz>{zz}</izz><ixy>0</ixy><ixz>0</ixz><iyz>0</iyz></inertia>"


def material(color: str, indent: int) -> str:
    pad = " " * indent
    return f"{pad}<material><ambient>{color}</ambient><diffuse>{color}</diffuse></material>"


def arm_visual(index: int, x: float, y: float, height: float) -> str:
    reach, heading = math.hypot(x, y), math.atan2(y, x)
    return f"""      <visual name="arm_{index}">
        <pose>{numbers(x / 2, y / 2, height / 2, 0, 0, heading)}</pose>
        <geometry><box><size>{numbers(reach, 0.035, 0.03)}</size></box></geometry>
{material("0.15 0.15 0.15 1", 8)}
      </visual>"""


def leg(index: int, y: float, length: float, height: float, up: float) -> str:
    """Return a skid, on which the drone stands."""
    pose, size = numbers(0, y, 0.015 - up, 0, 0, 0), numbers(length * 1.1, 0.03, 0.03)
    strut, strut_size = numbers(0, y, (height + 0.03) / 2 - up, 0, 0, 0), numbers(0.03, 0.03, height - 0.03)
    return f"""      <collision name="skid_{index}_collision">
        <pose>{pose}</pose>
        <geometry><box><size>{size}</size></box></geometry>
        <surface><friction><ode><mu>1.0</mu><mu2>1.0</mu2></ode></friction></surface>
      </collision>
      <visual name="skid_{index}_visual">
        <pose>{pose}</pose>
        <geometry><box><size>{size}</size></box></geometry>
{material("0.15 0.15 0.15 1", 8)}
      </visual>
      <visual name="strut_{index}">
        <pose>{strut}</pose>
        <geometry><box><size>{strut_size}</size></box></geometry>
{material("0.15 0.15 0.15 1", 8)}
      </visual>"""


def rotor_link(
    index: int, x: float, y: float, up: float, mass_kg: float, inertia: tuple[float, float, float], radius: float
) -> str:
    return f"""    <link name="rotor_{index}">
      <pose>{numbers(x, y, up, 0, 0, 0)}</pose>
      <inertial>
        <mass>{numbers(mass_kg)}</mass>
{inertia_xml(inertia, 8)}
      </inertial>
      <visual name="disk">
        <geometry><cylinder><radius>{numbers(radius)}</radius><length>0.01</length></cylinder></geometry>
{material("0.2 0.2 0.2 0.5", 8)}
        <transparency>0.5</transparency>
      </visual>
    </link>
    <joint name="rotor_{index}_joint" type="revolute">
      <parent>base_link</parent>
      <child>rotor_{index}</child>
      <axis>
        <xyz>0 0 1</xyz>
        <limit><lower>-1e16</lower><upper>1e16</upper></limit>
      </axis>
    </joint>
"""


def motor_plugin(index: int, frame: Airframe) -> str:
    turning = "ccw" if direction(index) > 0 else "cw"
    name = "gz::sim::systems::MulticopterMotorModel"
    return f"""    <plugin filename="gz-sim-multicopter-motor-model-system" name="{name}">
      <robotNamespace>drone</robotNamespace>
      <jointName>rotor_{index}_joint</jointName>
      <linkName>rotor_{index}</linkName>
      <motorNumber>{index}</motorNumber>
      <turningDirection>{turning}</turningDirection>
      <motorType>velocity</motorType>
      <commandSubTopic>command/motor_speed</commandSubTopic>
      <motorConstant>{motor_constant(frame):.6g}</motorConstant>
      <momentConstant>{moment_constant(frame):.6g}</momentConstant>
      <maxRotVelocity>{max_speed(frame):.6g}</maxRotVelocity>
      <timeConstantUp>0.0125</timeConstantUp>
      <timeConstantDown>0.025</timeConstantDown>
      <rotorDragCoefficient>8e-05</rotorDragCoefficient>
      <rollingMomentCoefficient>1e-06</rollingMomentCoefficient>
      <rotorVelocitySlowdownSim>10</rotorVelocitySlowdownSim>
    </plugin>
"""


def velocity_plugin(drone_class: DroneClass, frame: Airframe, inertia: list[float]) -> str:
    rotors = "\n".join(
        f"""        <rotor>
          <jointName>rotor_{index}_joint</jointName>
          <forceConstant>{motor_constant(frame):.6g}</forceConstant>
          <momentConstant>{moment_constant(frame):.6g}</momentConstant>
          <direction>{direction(index)}</direction>
        </rotor>"""
        for index in range(4)
    )
    velocity = numbers(*[VELOCITY_GAIN * drone_class.empty_mass_kg] * 3)
    attitude = numbers(*(gain * moment for gain, moment in zip(ATTITUDE_GAIN, inertia, strict=True)))
    rate = numbers(*(gain * moment for gain, moment in zip(RATE_GAIN, inertia, strict=True)))
    fastest = drone_class.cruise_speed_mps + 5.0
    return f"""    <!-- Follows velocities in the drone's own axes. A launched drone gets its id as robotNamespace,
         and takes <id>/cmd_vel and <id>/enable, bridged from drones/<id>/cmd_vel and drones/<id>/motors. -->
    <plugin filename="gz-sim-multicopter-control-system" name="gz::sim::systems::MulticopterVelocityControl">
      <robotNamespace>drone</robotNamespace>
      <commandSubTopic>cmd_vel</commandSubTopic>
      <enableSubTopic>enable</enableSubTopic>
      <comLinkName>base_link</comLinkName>
      <velocityGain>{velocity}</velocityGain>
      <attitudeGain>{attitude}</attitudeGain>
      <angularRateGain>{rate}</angularRateGain>
      <maximumLinearAcceleration>{numbers(*[MAX_ACCELERATION_MPS2] * 3)}</maximumLinearAcceleration>
      <maximumLinearVelocity>{numbers(fastest, fastest, fastest)}</maximumLinearVelocity>
      <maximumAngularVelocity>2 2 1.5</maximumAngularVelocity>
      <rotorConfiguration>
{rotors}
      </rotorConfiguration>
    </plugin>"""


def model_config(name: str) -> str:
    """Return the description that Gazebo's resource finder shows for a model."""
    return f"""<?xml version="1.0"?>
{HEAD}
<model>
  <name>drone_orchestrator {name}</name>
  <version>1.0</version>
  <sdf version="1.9">model.sdf</sdf>
  <description>Delivery quadrotor of class {name}, flown by velocity set-points.</description>
</model>
"""


# --- the world --------------------------------------------------------------------------------------------------------


def world(fleet: FleetSpec) -> str:
    """Return the world: depot at the origin, x east, y north."""
    depot = fleet.depot
    houses = "".join(house(i + 1, *each) for i, each in enumerate(HOUSES))
    zones = "".join(zone(each, depot) for each in fleet.no_fly_zones)
    return f"""<?xml version="1.0"?>
{HEAD}
<!-- The depot of config/fleet.yaml at the origin, x east, y north, and a small town around it. The launch file writes
     the depot and the no-fly zones of your fleet_config into a copy, and spawns the drones. -->
<sdf version="1.9">
  <world name="town">
    <physics name="2ms" type="ignored">
      <max_step_size>0.002</max_step_size>
      <real_time_factor>1.0</real_time_factor>
    </physics>
    <plugin filename="gz-sim-physics-system" name="gz::sim::systems::Physics"/>
    <plugin filename="gz-sim-user-commands-system" name="gz::sim::systems::UserCommands"/>
    <plugin filename="gz-sim-scene-broadcaster-system" name="gz::sim::systems::SceneBroadcaster"/>
    <!-- For cameras that you may add to a model; without any it renders nothing. -->
    <plugin filename="gz-sim-sensors-system" name="gz::sim::systems::Sensors">
      <render_engine>ogre2</render_engine>
    </plugin>
    <gravity>0 0 -9.81</gravity>
    <spherical_coordinates>
      <surface_model>EARTH_WGS84</surface_model>
      <world_frame_orientation>ENU</world_frame_orientation>
      <latitude_deg>{depot.lat_deg:.7f}</latitude_deg>
      <longitude_deg>{depot.lon_deg:.7f}</longitude_deg>
      <elevation>0</elevation>
      <heading_deg>0</heading_deg>
    </spherical_coordinates>
    <scene>
      <ambient>0.6 0.6 0.6 1</ambient>
      <background>0.65 0.78 0.92 1</background>
      <shadows>true</shadows>
    </scene>
    <light name="sun" type="directional">
      <pose>0 0 200 0 0 0</pose>
      <cast_shadows>true</cast_shadows>
      <diffuse>0.9 0.9 0.85 1</diffuse>
      <specular>0.2 0.2 0.2 1</specular>
      <direction>-0.4 0.3 -0.85</direction>
    </light>
    <model name="ground">
      <static>true</static>
      <link name="link">
        <collision name="ground_collision">
          <geometry><plane><normal>0 0 1</normal><size>20000 20000</size></plane></geometry>
          <surface><friction><ode><mu>1.0</mu><mu2>1.0</mu2></ode></friction></surface>
        </collision>
        <visual name="ground_visual">
          <geometry><plane><normal>0 0 1</normal><size>20000 20000</size></plane></geometry>
{material("0.45 0.55 0.40 1", 10)}
        </visual>
      </link>
    </model>
    <model name="depot">
      <static>true</static>
      <link name="link">
        <visual name="apron">
          <pose>0 0 0.005 0 0 0</pose>
          <geometry><cylinder><radius>12</radius><length>0.01</length></cylinder></geometry>
{material("0.35 0.35 0.38 1", 10)}
        </visual>
        <visual name="charging_area">
          <pose>0 0 0.01 0 0 0</pose>
          <geometry><cylinder><radius>10</radius><length>0.01</length></cylinder></geometry>
{material("0.95 0.80 0.15 1", 10)}
        </visual>
        <collision name="hall_collision">
          <pose>-26 0 3 0 0 0</pose>
          <geometry><box><size>16 30 6</size></box></geometry>
        </collision>
        <visual name="hall_visual">
          <pose>-26 0 3 0 0 0</pose>
          <geometry><box><size>16 30 6</size></box></geometry>
{material("0.85 0.85 0.88 1", 10)}
        </visual>
      </link>
    </model>
{houses}{zones}  </world>
</sdf>
"""


def house(number: int, east: float, north: float, length: float, width: float, height: float) -> str:
    size = numbers(length, width, height)
    roof = numbers(length + 1, width + 1, 0.4)
    return f"""    <model name="house_{number:02d}">
      <static>true</static>
      <pose>{numbers(east, north, 0, 0, 0, 0)}</pose>
      <link name="link">
        <collision name="walls_collision">
          <pose>0 0 {numbers(height / 2)} 0 0 0</pose>
          <geometry><box><size>{size}</size></box></geometry>
        </collision>
        <visual name="walls_visual">
          <pose>0 0 {numbers(height / 2)} 0 0 0</pose>
          <geometry><box><size>{size}</size></box></geometry>
{material(HOUSE_COLORS[number % len(HOUSE_COLORS)], 10)}
        </visual>
        <visual name="roof">
          <pose>0 0 {numbers(height + 0.2)} 0 0 0</pose>
          <geometry><box><size>{roof}</size></box></geometry>
{material(ROOF_COLOR, 10)}
        </visual>
      </link>
    </model>
"""


def zone(of: NoFlyZone, depot: GeoPoint) -> str:
    """Return the zones as the launch file writes them for another fleet."""
    model = zone_model(of, depot)
    ElementTree.indent(model, "  ", level=2)
    return f"    {ElementTree.tostring(model, encoding='unicode').rstrip()}\n"


def files() -> dict[Path, str]:
    """Return every generated file with its content."""
    fleet = fleet_config.load(ROOT / "config" / "fleet.yaml")
    out = {GAZEBO / "worlds" / "town.sdf": world(fleet)}
    for drone_class in fleet.classes:
        folder = GAZEBO / "models" / drone_class.name
        out[folder / "model.sdf"] = quadrotor(drone_class, AIRFRAMES[drone_class.name])
        out[folder / "model.config"] = model_config(drone_class.name)
    return out


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
