"""The control plane: here its parts meet, and clients are answered."""
