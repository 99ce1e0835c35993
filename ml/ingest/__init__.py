"""How images come in: sources, validation, duplicates, the leak guard."""
