"""How good a model is, and whether it may go into production. Pure functions; telling.py alone knows the catalog."""
