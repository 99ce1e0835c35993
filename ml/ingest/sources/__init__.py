"""Where images come from again and again, each named by a URL: a drop folder, an S3 prefix, tables with photos."""
