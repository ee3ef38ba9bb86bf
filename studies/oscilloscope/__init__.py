"""The oscilloscope: one run, pictures, films, scans, training, tests."""
