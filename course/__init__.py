"""The `attnlab` command: build the course, check, grade, open it."""
