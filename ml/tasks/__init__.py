"""Tasks, what models are trained for. `base` has the protocol, `registered` the list; each task has a folder."""
