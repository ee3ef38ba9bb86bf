"""One way to run any Brian2 network: targets, programs, their cache and their cost."""
