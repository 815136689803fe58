"""``fleetctl demo`` and ``fleetctl chaos``: run a local fleet, inject faults, record the run and check it.

Options and a seed come in; a report with a verdict and a picture go out.
"""
