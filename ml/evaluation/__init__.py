"""How good a model version is, and whether it may go into production."""
