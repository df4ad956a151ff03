"""Where replicas run. Not here: building what they run, deciding how many."""
