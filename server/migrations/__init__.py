"""How the operator's database came to its tables: Alembic revisions, applied when it is opened (`server.database`)."""
