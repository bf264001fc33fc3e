"""Unit vectors kept in SQLite, so that nothing is computed twice."""
