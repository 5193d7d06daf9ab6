"""The helper process that compares expressions: run as a folder, it imports nothing of the package around it."""
