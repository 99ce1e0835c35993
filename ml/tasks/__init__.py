"""What a model is trained for: a folder per task."""
