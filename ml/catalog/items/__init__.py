"""Items, the unit of all data, and their parts."""
