"""``fleetctl bench``: one module per benchmark of a whole fleet, and the modules that they share.

Options come in; measured figures go out as text, JSON or a picture, with a bound that they must meet.
"""
