"""The HTTP API: its routes, their requests and responses, and its OpenAPI document."""
