"""The web page: drop spectra, see fit, posterior, flags; a sandbox of the emulator. Needs the extra ``app``."""
