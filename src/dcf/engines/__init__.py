"""Where replicas run. Building them and deciding how many there are is done elsewhere."""
