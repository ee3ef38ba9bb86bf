"""C++ loops of the conductance-based network; built and called by train_torch.compiled."""
