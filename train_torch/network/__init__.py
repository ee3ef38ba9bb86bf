"""The networks as torch modules, and how they run."""
