"""Labels on their own, judged on pictures that may have several labels or none."""
