"""The replicas: started, observed, checked, balanced, stopped."""
