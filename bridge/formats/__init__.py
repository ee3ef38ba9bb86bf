"""Files: weights, recordings, inputs, and other programs' formats."""
