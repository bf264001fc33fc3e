"""Work in parts, for more pictures than one run or one machine should take: plan, parts, results, and the engine that runs them."""
