"""Flight controllers behind one protocol."""
