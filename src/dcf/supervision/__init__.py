"""Any process of the operating system: start, observe, stop, start again. Knows no functions."""
