"""SQL to edges. Knows dialects and nothing of Monte Carlo or of any warehouse's connection."""
