"""How the database came to be as it is, step by step. Alembic runs them when a database is opened."""
