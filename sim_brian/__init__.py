"""Everything that runs in Brian2: the engine, the equations, the networks."""
