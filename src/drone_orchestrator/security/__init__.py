"""Authentication of orders: signed envelopes, keys, the replay window. Knows no ROS."""
