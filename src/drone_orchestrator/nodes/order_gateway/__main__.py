"""``python -m drone_orchestrator.nodes.order_gateway``."""

from ..programs import order_gateway

if __name__ == "__main__":
    order_gateway()
