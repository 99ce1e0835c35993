"""The photos that a person asked about, with the answers and what the person said of them."""
