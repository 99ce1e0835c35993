"""Where images come from again and again, each named by a URL: a drop folder, a bucket, tables with photos."""
