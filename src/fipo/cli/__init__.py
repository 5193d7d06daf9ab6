"""The `fipo` command."""
