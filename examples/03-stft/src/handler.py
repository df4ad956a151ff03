import base64
import io

from dcf import Reply

from spectrogram import BadSound, picture, read_wav, stft


class Handler:
    def __call__(self, req):
        try:
            rate, samples = read_wav(req.input)
        except BadSound as error:
            # The input is at fault, not this function: 400, not 500.
            return Reply({"error": str(error)}, status=400)
        _, _, magnitudes = stft(samples, rate)
        png = io.BytesIO()
        picture(magnitudes).save(png, "PNG")
        if "image/png" in req.headers.get("accept", ""):
            return Reply(png.getvalue(), content_type="image/png")
        # Base64, for clients that cannot handle bytes.
        return base64.b64encode(png.getvalue()).decode()
