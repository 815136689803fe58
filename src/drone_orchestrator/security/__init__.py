"""Who may say what: signed envelopes, keys, the replay window. No ROS in here."""
