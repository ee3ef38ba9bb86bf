"""A layer over a sequence as one operation: in plain torch, CUDA graphs, or compiled C++ loops."""
