class Handler:
    def __init__(self):
        # Runs once, when the function starts. A model would be loaded here.
        pass

    def __call__(self, req):
        # Runs for every call. req.input holds what was sent, as bytes.
        return "Hello DCF"
