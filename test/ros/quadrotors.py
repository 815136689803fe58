"""Stands in for Gazebo and its bridge as a process: a clock, and quadrotors that take Twist and publish Odometry.

usage: quadrotors.py SPEED DRONE_ID...    (SPEED: simulated seconds per second of wall time, at most)

Time goes on only when each drone that flies has answered the last odometry by a set-point, so the flights do not depend
on the machine's speed. Lines of stdin are commands:

``hold M``      time stands still as soon as a drone is higher than M metres
``go``          time goes on again
``blind``       odometry stops
``see``         odometry goes on
``unattended``  do not wait for the set-points of any drone until its next one

Each line of stdout is a JSON object: ``{"touchdown": id, "at": [east, north], "mps": …}``, ``{"held": id}``, or, once a
simulated second, ``{"up": {id: …}}``.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from collections.abc import Callable
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
#: Odometry is repeated after this long (s) without an answer: it is not reliable, and an executor may have restarted.
AGAIN_S = 0.05


class Simulator(Node):
    """The world; :meth:`advance` lets the time between two odometries pass."""

    def __init__(self, drone_ids: list[str]) -> None:
        super().__init__("quadrotors")
        self.time_s = 0.0
        self._blind = False
        self._held = False
        self._hold_above_m = math.inf
        self._attended: set[str] = set()
        self._answered: set[str] = set()
        self.clock_publisher = self.create_publisher(Clock, "/clock", 1)
        self.drones = {
            drone_id: Quadrotor(position=np.array([PAD_SPACING_M * index, 0.0, 0.0]))
            for index, drone_id in enumerate(drone_ids)
        }
        self.odometry = {each: self.create_publisher(Odometry, names.drone_odometry(each), 10) for each in self.drones}
        for each in self.drones:
            self.create_subscription(Twist, names.drone_set_point(each), self._commanded(each), 1)
            self.create_subscription(Bool, names.drone_motors(each), self._switched(each), 1)

    def _commanded(self, drone_id: str) -> Callable[[Twist], None]:
        def take(message: Twist) -> None:
            self._heard_from(drone_id)
            linear = (message.linear.x, message.linear.y, message.linear.z)
            self.drones[drone_id].command(linear, message.angular.z)

        return take

    def _switched(self, drone_id: str) -> Callable[[Bool], None]:
        def take(message: Bool) -> None:
            self._heard_from(drone_id)
            self.drones[drone_id].enable(message.data)

        return take

    def _heard_from(self, drone_id: str) -> None:
        self._attended.add(drone_id)
        self._answered.add(drone_id)

    def obey(self, command: str) -> None:
        """Carry out a command of stdin."""
        match command.split():
            case ["hold", height_m]:
                self._hold_above_m = float(height_m)
            case ["go"]:
                self._held = False
            case ["blind"]:
                self._blind = True
            case ["see"]:
                self._blind = False
            case ["unattended"]:
                self._attended.clear()
            case _:
                raise ValueError(f"unknown command: {command!r}")

    @property
    def may_advance(self) -> bool:
        """Return whether the drones have answered the last odometry. With its motors off, a drone need not."""
        flying = {drone_id for drone_id in self._attended if self.drones[drone_id].motors}
        return not self._held and (self._blind or flying <= self._answered)

    def advance(self) -> None:
        before_s = self.time_s
        for drone_id, drone in self.drones.items():
            landed = len(drone.touchdowns_mps)
            drone.advance(1.0 / RATE_HZ)
            for mps in drone.touchdowns_mps[landed:]:
                say({"touchdown": drone_id, "at": [float(x) for x in drone.position[:2]], "mps": mps})
            if drone.position[2] > self._hold_above_m:
                self._held, self._hold_above_m = True, math.inf
                say({"held": drone_id})
        self.time_s += 1.0 / RATE_HZ
        if int(self.time_s) > int(before_s):
            say({"up": {drone_id: float(drone.position[2]) for drone_id, drone in self.drones.items()}})
        self._answered.clear()
        self.publish()

    def publish(self) -> None:
        """Publish the time and, unless the drones are to be blind, odometry."""
        self.clock_publisher.publish(Clock(clock=messages.time_to_msg(self.time_s)))
        if not self._blind:
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
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: [commands.put(line) for line in sys.stdin], daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(world)
    due_s = again_s = time.monotonic()
    while True:
        while not commands.empty():
            world.obey(commands.get())
        now_s = time.monotonic()
        if now_s >= due_s and world.may_advance:
            world.advance()
            due_s, again_s = now_s + 1.0 / RATE_HZ / speed, now_s + AGAIN_S
        elif now_s >= again_s:
            world.publish()
            again_s = now_s + AGAIN_S
        executor.spin_once(timeout_sec=max(0.0, (due_s if now_s < due_s else again_s) - now_s))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
