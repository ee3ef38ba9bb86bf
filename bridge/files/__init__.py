"""Files as such: read safely, written whole; NPZ, HDF5, MATLAB, JSON and YAML without meaning."""
