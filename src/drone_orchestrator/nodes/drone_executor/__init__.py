"""The program ``drone_executor``: hosts one or many drones, each a lifecycle node of its own.

Goals, clearances and acknowledgements come in from the leader, and sensor data from a flight stack. Answers to goals,
drone states and telemetry go out over DDS, commands go to the flight stack, and every decision goes into a journal.
"""
