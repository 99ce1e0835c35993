"""Items, the unit of everything, and their parts."""
