"""Data sets of the digit tasks and the files that hold them."""
