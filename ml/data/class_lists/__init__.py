"""The names of classes that people may choose from."""
