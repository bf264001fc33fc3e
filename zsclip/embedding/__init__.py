"""From pictures and texts to unit vectors, in order and streaming."""
