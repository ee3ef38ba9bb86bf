"""The lateral line without a simulator: stimulus, rates, streams, wiring, chance, map quality."""
