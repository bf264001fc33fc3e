"""Pictures: where they come from, and how their bytes become the pixels that a model takes."""
