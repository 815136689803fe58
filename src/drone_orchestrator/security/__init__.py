"""Authentication of orders from an open bus: signed envelopes, keys, the replay window. Knows no ROS.

An envelope and the time come in; its payload goes out, or a typed refusal.
"""
