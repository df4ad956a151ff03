"""From the bytes of a call to an RGB picture."""

import base64
import binascii
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

# The formats that cameras and browsers make. Naming them keeps the rarer decoders, one of which
# starts another program (EPS), away from whatever strangers send.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

# A file of some kilobytes can unpack to gigabytes. Pillow warns above this many pixels; here the
# warning is an error.
Image.MAX_IMAGE_PIXELS = 50_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)


class BadPicture(ValueError):
    """What was sent cannot be used as a picture; the message says why."""


def read_picture(body):
    """Reads a picture that was sent as it is, or as base64 with or without line breaks."""
    if not body.strip():
        raise BadPicture("the body is empty; send a picture, as it is or as base64")
    try:
        image = _open(body) or _open(_unpack(body))
        if image is not None:
            # Opening reads the header alone; the pixels, and most faults in them, come now.
            return _upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise BadPicture(f"the picture has more than {limit:,} pixels") from error
    except Exception as error:  # a damaged file can make a decoder raise almost anything
        raise BadPicture(f"the picture is damaged: {error}") from error
    known = ", ".join(FORMATS)
    raise BadPicture(f"the body is neither a picture ({known}) nor the base64 of one")


def _open(data):
    """The picture with its header read, or None when this is no picture."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        return None


def _unpack(text):
    """What the base64 stands for; nothing when it is no base64."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return b""


def _upright_rgb(image):
    # Phones save pictures lying on their side, with a note on how to turn them (EXIF).
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits of grey; converting to RGB would cut off what is brighter than 255.
        image = image.point(lambda grey: grey * (1 / 256)).convert("L")
    if image.has_transparency_data:
        # On white, as a viewer shows it: what lies below full transparency is often rubbish.
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("RGB")
