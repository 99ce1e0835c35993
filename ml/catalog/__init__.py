"""What we know: PostgreSQL tables and their migrations, and the images' bytes.

Functions take a SQLAlchemy connection, so that the caller decides what belongs in one transaction.
"""
