"""The order gateway node: orders over HTTP, services and a signed topic."""
