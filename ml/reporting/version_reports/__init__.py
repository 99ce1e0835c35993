"""What people see of a model version before they choose it."""
