"""From the bytes of a message to a frame, and back to bytes with boxes in it.

Pillow alone does it. OpenCV would save one or two milliseconds of the more than twenty that a frame
takes on a CPU, and is seven times as large.
"""

import io
import json

from PIL import Image, ImageDraw, ImageFont

QUALITY = 80  # of the JPEG; 75 to 85 is what cameras make
MAX_PIXELS = 10_000_000  # a frame of 4K video has 8.3 million
# Told apart by class, and readable in front of anything.
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")
FONT = ImageFont.load_default(16)


class BadFrame(ValueError):
    """What was sent cannot be used as a frame; the message says why."""


def read_frame(data):
    """The RGB picture in a JPEG.

    Raises:
        BadFrame: When it is no JPEG, or a damaged or very large one.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
    except Exception as error:
        raise BadFrame(f"a JPEG is wanted, {len(data):,} bytes of something else came") from error
    if image.width * image.height > MAX_PIXELS:
        raise BadFrame(f"the frame has more than {MAX_PIXELS:,} pixels")
    try:
        # Opening reads the header alone; the pixels, and most faults in them, come now.
        return image.convert("RGB")
    except Exception as error:  # a damaged file can make a decoder raise almost anything
        raise BadFrame(f"the JPEG is damaged: {error}") from error


def annotate(frame, found):
    """Draws a box with a label around each object."""
    draw = ImageDraw.Draw(frame)
    # The surest last, so that it lies above the others.
    for one in reversed(found):
        colour = COLOURS[sum(one.name.encode()) % len(COLOURS)]
        draw.rectangle((one.xmin, one.ymin, one.xmax, one.ymax), outline=colour, width=3)
        label = f"{one.name} {one.confidence:.2f}"
        left, top, right, bottom = draw.textbbox((one.xmin + 6, one.ymin + 4), label, font=FONT)
        draw.rectangle((left - 6, top - 4, right + 6, bottom + 4), fill=colour)
        draw.text((one.xmin + 6, one.ymin + 4), label, font=FONT, fill="white")


def write_frame(frame, found):
    """The frame as a JPEG, with the list of what was found in its comment, for programs."""
    comment = json.dumps([one.as_text() for one in found])
    data = io.BytesIO()
    frame.save(data, "JPEG", quality=QUALITY, comment=comment.encode())
    return data.getvalue()
