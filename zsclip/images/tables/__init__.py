"""Tables with a picture in each row: Parquet with bytes, paths or addresses; CSV, TSV and JSON Lines with paths or addresses."""
