"""Brian2's CUDA target: the toolkit, the project's files, what goes wrong."""
