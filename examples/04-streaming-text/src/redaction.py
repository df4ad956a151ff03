"""Names for what must not be read: one name for each address or number, wherever it is met."""

import re

# Every repetition has a bound. Without one, a line of a million letters takes an hour.
EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}"
PHONE = r"""
    (?<![\w+-])(?:
        \+\d(?:[ -]?\d){8,14}                       # +82 10-1234-5678
      | \(?0\d{1,4}\)?[ -]\d{3,4}[ -]?\d{3,4}       # 02-123-4567, (030) 123 4567
      | (?:\(\d{3}\)[ ]?|\d{3}-)\d{3}-\d{4}         # (555) 123-4567
    )(?!-?\d|\w)
"""
# ASCII, because in some languages the next word follows without a gap: hong@example.kr로.
PERSONAL = re.compile(f"(?P<email>{EMAIL})|(?P<phone>{PHONE})", re.VERBOSE | re.ASCII)


class Redactor:
    """Puts names in the place of e-mail addresses and phone numbers.

    It remembers whom it has named, so that who wrote to whom can still be read.
    """

    def __init__(self):
        self._names = {"email": {}, "phone": {}}

    def __call__(self, text):
        """The text without what is personal in it."""
        return PERSONAL.sub(self._name, text)

    def _name(self, match):
        kind = match.lastgroup
        known = self._names[kind]
        # The same address in other letters, or the same number with other gaps, is the same.
        key = match[0].lower() if kind == "email" else re.sub(r"\D", "", match[0])
        return f"[{kind} {known.setdefault(key, len(known) + 1)}]"
