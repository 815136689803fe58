"""``python -m drone_orchestrator.nodes.order_gateway``."""

from .node import main

if __name__ == "__main__":
    main()
