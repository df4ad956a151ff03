from redaction import Redactor


class Handler:
    def __call__(self, req):
        # Because of its yield, this is called once for a stream and not once for a message. What
        # it knows belongs to this stream: the next one begins anew.
        redact = Redactor()
        for line in req.stream:
            # A log may hold any bytes; those that are no text must not end the stream.
            yield redact(line.decode("utf-8", errors="replace"))
