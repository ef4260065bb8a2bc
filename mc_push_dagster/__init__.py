"""Feed Monte Carlo."""
