"""What a model is trained for: `base` says what a task is, `registered` names them, each has a folder."""
