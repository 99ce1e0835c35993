"""Find images that are copies of one another."""
