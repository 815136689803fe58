"""``python -m drone_orchestrator.nodes.orchestrator``."""

from .node import main

if __name__ == "__main__":
    main()
