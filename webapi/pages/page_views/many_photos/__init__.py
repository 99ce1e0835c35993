"""Name many photos at once."""
