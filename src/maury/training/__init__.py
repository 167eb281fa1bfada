"""Fitting the emulator and training the networks."""
