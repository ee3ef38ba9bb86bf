"""Rate network to spiking network: tasks, model files, conversion, scaling-factor search."""
