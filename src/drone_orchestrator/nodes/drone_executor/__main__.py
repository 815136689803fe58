"""``python -m drone_orchestrator.nodes.drone_executor``."""

from .host import main

if __name__ == "__main__":
    raise SystemExit(main())
