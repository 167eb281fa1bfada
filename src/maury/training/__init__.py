"""Fit emulators and train networks."""
