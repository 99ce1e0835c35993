"""Measure each speed figure of the documentation again with one command: `make bench`."""
