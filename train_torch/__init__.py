"""Everything that trains: the torch mirror of the networks that :mod:`bridge.network` describes."""
