"""The drone executor node: hosts drones, each with an action server, a journal and a flight controller."""
