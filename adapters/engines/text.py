"""Text as it grows token by token: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs


class Text:
    """The text of one answer as it grows, up to the first stop string."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._reach = max(map(len, stop), default=0)
        self._told = 0
        self.text = ""

    def add(self, data: bytes, final: bool = False) -> bool:
        """Take the bytes of one more token; whether the text has come to a stop string, which is cut off.

        Of several the one that is complete first counts, so that the answer does not depend on how tokens are cut.
        """
        start = max(0, len(self.text) - self._reach + 1)
        self.text += self._decoder.decode(data, final)
        found = [(at + len(stop), at) for stop in self._stop if (at := self.text.find(stop, start)) >= 0]
        if found:
            self.text = self.text[: min(found)[1]]
            self._decoder.reset()  # it may hold the beginning of a character behind the stop string
        return bool(found)

    def news(self, final: bool = False) -> str:
        """What is certain and was not told yet; what may still become a stop string waits, unless `final`."""
        end = len(self.text)
        if not final:
            begun = (
                size
                for size in range(min(self._reach - 1, end), 0, -1)
                if any(stop.startswith(self.text[end - size :]) for stop in self._stop)
            )
            end -= next(begun, 0)
        piece = self.text[self._told : end]
        self._told = max(self._told, end)
        return piece
