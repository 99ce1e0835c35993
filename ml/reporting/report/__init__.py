"""One page that says how the model, the data and the nights are: for a stack without Grafana, and to send by mail."""
