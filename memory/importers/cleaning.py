"""Cleaning of text that people wrote: markup to plain text, hidden and control characters out, one Unicode form.

What people meant to write stays: `<3`, emoji joined from several characters, right-to-left scripts, paragraphs.
Every function is idempotent and takes time linear in the text, whatever the text holds.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

_LAYERS = 5
"""How often escaped markup is unescaped again (`&amp;lt;br&amp;gt;` has two layers). Deeper ones are an attack."""

_NEWLINES = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\x9d]*(?:\x07|\x1b\\|\x9c)"  # window titles, links
)

# Joiners stay between characters that they can join: emoji and letters of scripts beyond Latin (Persian, Hindi).
_JOINABLE = "[^\x00-\u02ff\u2000-\u206f\ufeff\ufff9-\uffff\U000e0000-\U000e007f\ud800-\udfff]"
_FLAG = re.compile("(\U0001f3f4[\U000e0061-\U000e007a]{1,6}\U000e007f)")
"""The flags of England, Scotland and Wales: the one honest use of invisible tag characters."""
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # zero-width
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates
    "\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f"  # noncharacters, tags
    "\ud800-\udfff]"  # halves of surrogate pairs, which no database can keep
    f"|(?<!{_JOINABLE})[\u200c\u200d]|[\u200c\u200d](?!{_JOINABLE})"
)

_MOST_MARKS = 30
"""Most combining marks on one letter, as in Unicode's stream-safe form; sorting longer runs takes quadratic time."""
_MARK_RUN = re.compile(rf"[^\w\x00-\x7f]{{{_MOST_MARKS + 1},}}")

_BREAKS = {
    **dict.fromkeys(("br", "dd", "dt", "li", "tr"), "\n"),
    **dict.fromkeys(("blockquote", "div", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre"), "\n\n"),
    **dict.fromkeys(("section", "table", "ul"), "\n\n"),
    **dict.fromkeys(("td", "th"), " "),
}
"""What stands for a tag; nothing for the others."""
_INLINE = (
    "a|abbr|audio|b|big|body|button|caption|center|cite|code|del|dfn|em|embed|font|form|html|i|iframe|img|input|ins|kbd|"
    "label|mark|object|param|q|s|samp|script|small|source|span|strike|strong|style|sub|sup|tbody|tfoot|thead|tt|u|var|"
    "video|wbr"
)
# Only real tags: a known name, then nothing or attributes. `<3`, `<sarcasm>` and `a <b and c> d` are not tags. What a
# script or a style holds goes with it, and so do marks by which chat templates tell who speaks (`<|im_start|>`).
_TAG = re.compile(
    r"<(?P<held>script|style)(?:\s[^<>]*)?>(?:[^<]*+(?:<(?!/(?P=held))[^<]*+){0,99}+)</(?P=held)\s*>"
    rf"|</?(?P<name>{'|'.join(_BREAKS)}|{_INLINE})(?:\s*/?|\s[^<>=]*=[^<>]*)>|<!--[^<>]*-->|(?P<mark><\|[^\s|<>]{{1,32}}\|>)",
    re.IGNORECASE,
)

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_SPACES = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_NO_MARKUP = str.maketrans("", "", "<&")


def clean_text(text: str) -> str:
    """Clean a text of one or more paragraphs.

    Removed: HTML tags (line and paragraph tags become line breaks) and what scripts and styles hold, chat templates'
    marks (a space takes their place), HTML entities (replaced by what they stand for),
    control characters, terminal escape sequences, zero-width and bidirectional control characters, lone surrogates.
    The result is in Unicode form NFC, has single spaces, at most one blank line in a row, and no space around it.

    Args:
        text: Any string, also one with lone surrogates.

    Returns:
        The cleaned text; empty where nothing readable was in it.
    """
    if not (text.isascii() and text.replace("\n", "").isprintable()):
        text = _visible(text)
    for _ in range(_LAYERS):
        if "<" not in text and "&" not in text:
            break
        plain = _ENTITY.sub(_character, _TAG.sub(_break, text))
        if plain == text:
            break
        text = _visible(plain)
    else:
        text = _visible(text.translate(_NO_MARKUP))
    return _spaced(text)


def clean_line(text: str) -> str:
    """Clean a text as `clean_text` does and put it on one line."""
    return " ".join(clean_text(text).split())


def _visible(text: str) -> str:
    """Without hidden characters, in NFC. Composing first, because it can turn a joinable character into ASCII."""
    text = _composed(text)
    text = _ESCAPE_SEQUENCES.sub("", _NEWLINES.sub("\n", text))
    if "\U0001f3f4" in text:
        parts = _FLAG.split(text)
        text = "".join(part if index % 2 else _HIDDEN.sub("", part) for index, part in enumerate(parts))
    else:
        text = _HIDDEN.sub("", text)
    return _composed(text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", _MARK_RUN.sub(_fewer_marks, text))


def _fewer_marks(run: re.Match[str]) -> str:
    kept = []
    marks = 0
    for character in run[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _break(tag: re.Match[str]) -> str:
    return " " if tag["mark"] else _BREAKS.get((tag["name"] or "").lower(), "")


def _character(entity: re.Match[str]) -> str:
    # Names are looked up whole: html.unescape alone would also read "&notes;" as "¬es;".
    if entity[0][1] == "#":
        return html.unescape(entity[0])
    return html5.get(entity[0][1:], entity[0])


def _spaced(text: str) -> str:
    if "  " in text or "\n" in text or not (text.isascii() and text.isprintable()):
        text = _BLANK_LINES.sub("\n\n", _LINE_ENDS.sub("\n", _SPACES.sub(" ", text)))
    return text.strip()
