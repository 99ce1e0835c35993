"""Answer prediction requests. Code here does not know HTTP."""
