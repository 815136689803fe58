"""The order gateway node: orders by HTTP, by service and by signed topic."""
