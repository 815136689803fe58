"""Pure checkers, one per invariant, for histories real or simulated."""
