"""Training: what may be asked for, and each way to make a challenger."""
