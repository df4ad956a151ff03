"""Decodes the body of a call into an RGB picture."""

import base64
import binascii
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

# The formats that cameras and browsers write. The list keeps untrusted input away from the rarer
# decoders, one of which (EPS) starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

# A file of a few kilobytes can unpack to gigabytes. Pillow warns above this many pixels; the filter
# below turns the warning into an error.
Image.MAX_IMAGE_PIXELS = 50_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)


class BadPicture(ValueError):
    """The body cannot be decoded as a picture; the message gives the reason."""


def read_picture(body):
    """Decode a picture from its bytes, or from base64 with or without line breaks."""
    if not body.strip():
        raise BadPicture("expected a picture, as bytes or as base64, got an empty body")
    try:
        image = _open(body) or _open(_unpack(body))
        if image is not None:
            # Opening reads only the header. Decoding the pixels finds most of the damage.
            return _upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise BadPicture(f"expected at most {limit:,} pixels, got more") from error
    except Exception as error:  # a decoder may raise anything for a damaged file
        raise BadPicture(f"the picture is damaged: {error}") from error
    known = ", ".join(FORMATS)
    raise BadPicture(f"expected a picture ({known}) or its base64, got {len(body):,} other bytes")


def _open(data):
    """Return the picture with its header read, or None if the data is not a picture."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        return None


def _unpack(text):
    """Return the decoded bytes, or nothing if the text is not base64."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return b""


def _upright_rgb(image):
    # Phones save pictures sideways, with the rotation in the EXIF data.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits of grey: converting to RGB would clip values above 255.
        image = image.point(lambda grey: grey * (1 / 256)).convert("L")
    if image.has_transparency_data:
        # Viewers draw on white. The colours of fully transparent pixels are often garbage.
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return image.convert("RGB")
