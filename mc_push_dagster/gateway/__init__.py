"""The door out: the only room that talks to Monte Carlo, and the only one that imports pycarlo."""
