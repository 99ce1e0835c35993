"""Training: the requests for it, and each way to train a challenger."""
