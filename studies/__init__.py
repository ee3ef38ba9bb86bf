"""What people do with the networks: one room for each system, and what they share."""
