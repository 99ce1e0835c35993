"""A backbone in int8: made once, and compared with fp32 before it serves."""
