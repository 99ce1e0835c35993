"""The catalog: PostgreSQL tables and their migrations, and the object store with the images' bytes.

Functions take a SQLAlchemy connection, so that the caller decides what belongs in one transaction.
"""
