"""The drone executor node: one process that hosts drones, each an action server with its own journal and flight."""
