"""``python -m drone_orchestrator.nodes.saga_monitor``."""

from .node import main

if __name__ == "__main__":
    main()
