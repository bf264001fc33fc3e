"""Labels and prompt sets: what texts a label becomes."""
