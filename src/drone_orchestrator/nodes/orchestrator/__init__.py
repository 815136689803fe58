"""The orchestrator node: a replica that campaigns, leads, and commands the drones."""
