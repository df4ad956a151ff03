"""Any process of the operating system: start, observe, stop. Knows no functions."""
