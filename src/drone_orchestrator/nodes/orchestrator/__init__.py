"""The orchestrator node: a replica that campaigns, leads, and talks to the drones."""
