"""Films: panels that move, and the video file."""
