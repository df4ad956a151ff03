"""Replaces e-mail addresses and phone numbers with placeholders, each with its own."""

import re

# Every repetition has a bound. Without bounds, a line of a million letters takes an hour.
EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}"
PHONE = r"""
    (?<![\w+-])(?:
        \+\d(?:[ -]?\d){8,14}                       # +82 10-1234-5678
      | \(?0\d{1,4}\)?[ -]\d{3,4}[ -]?\d{3,4}       # 02-123-4567, (030) 123 4567
      | (?:\(\d{3}\)[ ]?|\d{3}-)\d{3}-\d{4}         # (555) 123-4567
    )(?!-?\d|\w)
"""
# ASCII, because in some languages the next word follows without a space: hong@example.kr로.
PERSONAL = re.compile(f"(?P<email>{EMAIL})|(?P<phone>{PHONE})", re.VERBOSE | re.ASCII)


class Redactor:
    """Replaces e-mail addresses and phone numbers with numbered placeholders.

    The same address always has the same placeholder, so the text still shows who wrote to whom.
    """

    def __init__(self):
        self._numbers = {"email": {}, "phone": {}}

    def __call__(self, text):
        """Return the text with placeholders for its addresses and numbers."""
        return PERSONAL.sub(self._placeholder, text)

    def _placeholder(self, match):
        kind = match.lastgroup
        known = self._numbers[kind]
        # Addresses are equal regardless of case, and numbers regardless of separators.
        key = match[0].lower() if kind == "email" else re.sub(r"\D", "", match[0])
        return f"[{kind} {known.setdefault(key, len(known) + 1)}]"
