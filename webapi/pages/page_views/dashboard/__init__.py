"""The dashboard: figures over time, drawn from JSON, and what is wrong now."""
