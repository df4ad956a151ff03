"""Files and folders: what a failed write means, private folders."""
