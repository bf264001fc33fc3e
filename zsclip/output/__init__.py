"""Results written: rows, tables, vectors, folders."""
