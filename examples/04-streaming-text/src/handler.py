from redaction import Redactor


class Handler:
    def __call__(self, req):
        # Because of the yield, this is called once per stream, not once per message. The redactor
        # belongs to this stream: the next stream starts with a new one.
        redact = Redactor()
        for line in req.stream:
            # A log may contain any bytes. Invalid UTF-8 must not end the stream.
            yield redact(line.decode("utf-8", errors="replace"))
