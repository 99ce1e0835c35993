"""The report: one page on the model, the data and the nightly checks, for a stack without Grafana and for mail."""
