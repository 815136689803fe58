"""The saga monitor node: events, table and markers of every order, for people and tools."""
