"""Planning as pure numpy functions: feasibility, energy, cost, assignment."""
