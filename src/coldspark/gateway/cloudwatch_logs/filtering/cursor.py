"""A place in the text of a pattern, and the error that says what is wrong there."""

from typing import Never


class PatternError(ValueError):
    """A filter pattern cannot be understood, or asks for what is not supported: says which."""


class Cursor:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def next(self) -> str:
        """Return the next character, or nothing at the end."""
        return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Go over white space."""
        while self.next.isspace():
            self.at += 1

    def take(self, word: str) -> bool:
        """Go over ``word`` if it comes next, after white space."""
        self.skip()
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def expect(self, word: str) -> None:
        """Go over ``word``, which must come next."""
        if not self.take(word):
            self.refuse(f"{word!r} is expected")

    def run(self, stops: str) -> str:
        """Return what comes before white space or one of ``stops``."""
        start = self.at
        while self.next and not self.next.isspace() and self.next not in stops:
            self.at += 1
        return self.text[start : self.at]

    def quoted(self) -> list[str]:
        """Return the characters of a quoted text; one after a backslash has the backslash."""
        quote, start = self.next, self.at
        self.at += 1
        found: list[str] = []
        while self.next != quote:
            if not self.next:
                self.at = start
                self.refuse(f"the {quote} that opens here is never closed")
            width = 2 if self.next == "\\" else 1
            found.append(self.text[self.at : self.at + width])
            self.at += width
        self.at += 1
        return found

    def refuse_regex(self) -> Never:
        """Refuse what stands between two ``%``."""
        self.refuse(
            "regular expressions are not served here: use terms, such as ?one ?other, or a JSON "
            'comparison, such as { $.level = "ERR*" }; found %'
        )

    def refuse(self, why: str) -> Never:
        """Raise what is wrong here."""
        raise PatternError(f"{why} at character {self.at + 1} of {self.text!r}")


def plain(characters: list[str]) -> str:
    """Return a quoted text as it is meant: a backslash makes the next character an ordinary one."""
    return "".join(one[-1] for one in characters)
