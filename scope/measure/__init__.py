"""Numbers from a recording: rates, spectra, rhythm, windows."""
