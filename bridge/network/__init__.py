"""What a network is, what goes into it, and what both backends must agree on."""
