"""The prediction service: Flask behind gunicorn. It does not import TensorFlow."""
