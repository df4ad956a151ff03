"""A deploy: its request, its place in the queue, its build, its revision."""
