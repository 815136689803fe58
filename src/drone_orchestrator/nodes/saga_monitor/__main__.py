"""``python -m drone_orchestrator.nodes.saga_monitor``."""

from ..programs import saga_monitor

if __name__ == "__main__":
    saga_monitor()
