"""Instances of the component; `demo` works with no account and no network."""
