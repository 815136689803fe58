"""The kinds of faults that ``fleetctl chaos`` injects."""

from __future__ import annotations

#: Description of each kind.
KINDS = {
    "kill": "SIGKILL to an orchestrator (often the leader), a drone process, the monitor or the gateway; started again",
    "hang": "SIGSTOP to one of these, SIGCONT after a while",
    "restart": "SIGTERM to one of these: it ends in order and is started again",
    "etcd_cut": "TCP between etcd and one orchestrator, the monitor or the gateway is reset, or swallowed",
    "etcd_slow": "latency on the connections to etcd of one of these, or of all",
    "etcd_kill": "SIGKILL to etcd; of three members to the leader, to one, to two (no quorum) in turn; started again",
    "etcd_pause": "SIGSTOP to the same, SIGCONT after a while",
    "dds_cut": "the network of one drone process is cut off while it lives",
}
