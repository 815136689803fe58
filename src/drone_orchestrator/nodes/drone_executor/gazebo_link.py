"""The ROS side of :class:`~drone_orchestrator.flight.gazebo.GazeboFlight`: odometry in, set-points out.

Topics, below the fleet's namespace: ``drones/<id>/odometry`` (``nav_msgs/Odometry``), ``drones/<id>/cmd_vel``
(``geometry_msgs/Twist``, in the drone's axes) and ``drones/<id>/motors`` (``std_msgs/Bool``). ``ros_gz_bridge`` carries
them to and from Gazebo. Any other vehicle with these topics works too.
"""

from __future__ import annotations

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry as OdometryMsg
from std_msgs.msg import Bool

from ...flight.controller import FlightController, FlightSetup
from ...flight.gazebo import GazeboFlight, Odometry, SetPoint
from ...ros import messages, names, qos
from .flight_plugins import FlightNode

#: The motor state is sent again after this many set-points, in case the bridge has restarted.
REPEAT_MOTORS = 30


class LinkedGazeboFlight(GazeboFlight):
    """Flight controller that flies the drone of ``setup`` over topics of ``node``."""

    def __init__(self, setup: FlightSetup, node: FlightNode) -> None:
        super().__init__(setup, self._publish)
        self._closed = False
        self._told_motors: bool | None = None
        self._since_told = 0
        topics, drone_id = node.topics, setup.drone_id
        self._twist = topics.publisher(Twist, names.drone_set_point(drone_id), qos.set_points())
        self._motors = topics.publisher(Bool, names.drone_motors(drone_id), qos.set_points())
        topics.subscribe(OdometryMsg, names.drone_odometry(drone_id), qos.odometry(), self._heard_from)

    def close(self) -> None:
        if self._closed:
            return
        super().close()
        self._closed = True

    def _heard_from(self, message: OdometryMsg) -> None:
        pose, twist = message.pose.pose, message.twist.twist
        self.sensed(
            Odometry(
                messages.time_from_msg(message.header.stamp),
                (pose.position.x, pose.position.y, pose.position.z),
                (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w),
                (twist.linear.x, twist.linear.y, twist.linear.z),
            )
        )

    def _publish(self, wanted: SetPoint) -> None:
        self._since_told += 1
        if wanted.motors is not self._told_motors or self._since_told >= REPEAT_MOTORS:
            self._told_motors, self._since_told = wanted.motors, 0
            self._motors.publish(Bool(data=wanted.motors))
        if not wanted.motors:
            return
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.linear.z = wanted.velocity_mps
        twist.angular.z = wanted.yaw_rate_radps
        self._twist.publish(twist)


def gazebo(setup: FlightSetup, node: FlightNode) -> FlightController:
    """Return a controller for a quadrotor in Gazebo, or for any vehicle with the same topics."""
    return LinkedGazeboFlight(setup, node)
