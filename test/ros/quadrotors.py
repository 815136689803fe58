"""A process that stands in for Gazebo and its bridge: a clock, and quadrotors that take Twist and tell Odometry.

usage: quadrotors.py SPEED DRONE_ID...    (SPEED: simulated seconds in a second of wall time)

SIGUSR1 stops the odometry, SIGUSR2 lets it go on. Each line of stdout is a JSON object: ``{"touchdown": id, "at":
[east, north], "mps": …}``, or, once a simulated second, ``{"up": {id: …}}``.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from quadrotor import Quadrotor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool

from drone_orchestrator.ros import messages, names

RATE_HZ = 30.0
PAD_SPACING_M = 3.5


class Simulator(Node):
    """The world; :meth:`advance` lets the time between two odometries pass."""

    def __init__(self, drone_ids: list[str]) -> None:
        super().__init__("quadrotors")
        self.time_s = 0.0
        self.silent = False
        self.clock_publisher = self.create_publisher(Clock, "/clock", 1)
        self.drones = {
            drone_id: Quadrotor(position=np.array([PAD_SPACING_M * index, 0.0, 0.0]))
            for index, drone_id in enumerate(drone_ids)
        }
        self.odometry = {each: self.create_publisher(Odometry, names.drone_odometry(each), 10) for each in self.drones}
        for each, drone in self.drones.items():
            self.create_subscription(Twist, names.drone_set_point(each), self._commanded(drone), 1)
            self.create_subscription(Bool, names.drone_motors(each), lambda msg, d=drone: d.enable(msg.data), 1)

    @staticmethod
    def _commanded(drone: Quadrotor) -> object:
        def take(message: Twist) -> None:
            drone.command((message.linear.x, message.linear.y, message.linear.z), message.angular.z)

        return take

    def advance(self) -> None:
        before_s = self.time_s
        for drone_id, drone in self.drones.items():
            landed = len(drone.touchdowns_mps)
            drone.advance(1.0 / RATE_HZ)
            for mps in drone.touchdowns_mps[landed:]:
                say({"touchdown": drone_id, "at": [float(x) for x in drone.position[:2]], "mps": mps})
        self.time_s += 1.0 / RATE_HZ
        if int(self.time_s) > int(before_s):
            say({"up": {drone_id: float(drone.position[2]) for drone_id, drone in self.drones.items()}})
        self.clock_publisher.publish(Clock(clock=messages.time_to_msg(self.time_s)))
        if not self.silent:
            for drone_id, drone in self.drones.items():
                self.odometry[drone_id].publish(self._odometry(drone_id, drone))

    def _odometry(self, drone_id: str, drone: Quadrotor) -> Odometry:
        message = Odometry()
        message.header.stamp = messages.time_to_msg(self.time_s)
        message.header.frame_id, message.child_frame_id = "map", drone_id
        position, orientation = message.pose.pose.position, message.pose.pose.orientation
        position.x, position.y, position.z = map(float, drone.position)
        orientation.x, orientation.y, orientation.z, orientation.w = drone.orientation
        linear = message.twist.twist.linear
        linear.x, linear.y, linear.z = drone.body_velocity
        return message


def say(fact: dict[str, object]) -> None:
    print(json.dumps(fact), flush=True)


def main(speed: float, drone_ids: list[str]) -> None:
    rclpy.init()
    world = Simulator(drone_ids)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(world, "silent", True))
    signal.signal(signal.SIGUSR2, lambda *_: setattr(world, "silent", False))
    executor = SingleThreadedExecutor()
    executor.add_node(world)
    due = time.monotonic()
    while True:
        due = max(due + 1.0 / RATE_HZ / speed, time.monotonic() - 0.2)  # a machine that cannot keep up slows the world
        world.advance()
        executor.spin_once(timeout_sec=0.0)
        while (left := due - time.monotonic()) > 0.0:
            executor.spin_once(timeout_sec=left)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
