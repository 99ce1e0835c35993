"""Each figure that the documentation quotes, measured again with one command: `make bench`."""
