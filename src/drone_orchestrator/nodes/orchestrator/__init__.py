"""The program ``orchestrator``: one replica. It campaigns for leadership, and commands the drones while it leads.

Orders come in from the store, drone states and clearance requests over DDS. Commits go out to the store; goals,
clearances, acknowledgements and heartbeats go out over DDS.
"""
