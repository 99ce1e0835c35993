"""The prediction service: Flask behind gunicorn. Knows no TensorFlow."""
