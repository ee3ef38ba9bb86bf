"""The oscilloscope figure and its panels."""
