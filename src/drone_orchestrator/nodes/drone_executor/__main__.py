"""``python -m drone_orchestrator.nodes.drone_executor``."""

from ..programs import drone_executor

if __name__ == "__main__":
    drone_executor()
