"""How good a model is, and whether it may go into production. Pure functions, no input or output."""
