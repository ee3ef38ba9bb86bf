"""Training by surrogate gradients: plan, steps, states."""
