"""How good a network or an emulator is: metrics, sets of test spectra, the report."""
