"""``python -m drone_orchestrator.nodes.orchestrator``."""

from ..programs import orchestrator

if __name__ == "__main__":
    orchestrator()
