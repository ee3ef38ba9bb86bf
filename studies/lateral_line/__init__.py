"""The lateral line: training, controls, tests, pictures."""
