"""Cutting a review into the phrases that it is made of, in the reviewer's own words."""

from __future__ import annotations

import re

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.prompting import one_line

WORDS = 180
"""Words of a review that are read, and the rest of a sentence; enough for the student (method: short prompts)."""
CHARACTERS = 5_000
"""Characters of a review that are read: words can be long."""
LONGEST = 14
"""Words of the longest phrase that still reads as a keyword list's entry."""
LETTERS = 160
"""Characters of the longest phrase: not every script puts spaces between its words, nor every reviewer."""
SHORT = 12
"""Words up to which a sentence is left whole."""
TELLING = 2
"""Words that carry meaning, in English those that are no stop words, which a phrase must have."""
FOREIGN = 5
"""Letters of scripts other than Latin that do as well: some put no spaces between words."""
MOST = 20
"""Phrases read of one review."""

_SENTENCE = re.compile(r"(?:(?<!\.)\.(?!\.)|(?<![!?;])[!?;][.!?;:…]*+)(?=\s|[A-Z\"“(]|$)|[。！？；｡؟۔।]+")
_PAUSE = re.compile(r"(?:\.{2,}|[:…]+)(?=\s|[A-Z\"“(]|$)|[：—]|\s+[-–*]+\s+")
_CLAUSE = re.compile(
    r",\s+|[()\[\]，、،]|\s+(?=(?:but|although|though|however|because|while|whereas)\b)", re.IGNORECASE
)
_JOIN = re.compile(r"\s+and\s+", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:not|never|no|none|nor|neither|nothing|nobody|nowhere|cannot|without|\w+n['’]t|lack\w*|fail\w*|hardly"
    r"|(?:do|does|did|is|was|are|were|ca|wo|have|has|had|would|could|should|ai)nt|barely|scarcely|rarely|seldom"
    r"|except|doubt\w*|miss(?:e[ds]|ing)?|far\s+from|hat(?:e[ds]?|ing)|dislik\w*|avoid\w*|despis\w*|detest\w*"
    r"|loath\w*|ruin\w*|spoil\w*|problems?|trouble|complain\w*|tired|sick|fed\s+up|wast\w*"
    r"|nicht|kein\w*|ohne|nie|pas|jamais|sans|nunca|sin|non|senza|нет|не|без)\b",
    re.IGNORECASE,
)
"""What denies or condemns what comes after it in its sentence."""
_HEDGES = re.compile(
    r"\b(?:would|could|should|might|if|unless|unlike|than|instead|rather|almost|nearly|less|least|wish\w*|suppos\w*"
    r"|hop(?:e[ds]?|ing)|expect\w*|claim\w*|pretend\w*|told|said|says?|thought|think|used\s+to|compared|such\s+as"
    r"|including|e\.g\.)(?!\w)|\w['’]d\b|\blike(?=\s+(?-i:[A-Z]))",
    re.IGNORECASE,
)
"""What makes what comes after it in its sentence a wish, a comparison, a report or an example."""
_TURN = re.compile(r"\s*(?:but|although|though|however|whereas)\s(?!for\b)", re.IGNORECASE)
"""How a clause begins in which a denial before it holds no more."""
_NO_TURN = re.compile(r"\b(?:nothing|none|anything|all|help|not\s+(?:only|just|merely)\b.*)$", re.IGNORECASE)
"""What `but` does not turn: “nothing but”, “not only … but”."""
_ANEW = re.compile(r"\s*(?:I|it|they|we|he|she|this|there)\b(?:['’]\w+)?\s", re.IGNORECASE)
"""How a clause begins that stands by itself."""
_AFTERTHOUGHT = 4
"""Words up to which a clause may be about the one before it: “this is not”."""
_FRAGMENT = re.compile(
    r"^(?:who|whom|whose|which|than|of|like|such|including|alongside|nor|to|that(?=\s+\w+s?\s))\b"
    r"|^(?!an?\b|the\b)(?:[\w'’]+\s+){1,4}(?:who|whom|whose)\b",
    re.IGNORECASE,
)
"""How a part begins that cannot stand alone."""
_DANGLING = re.compile(
    r"\b(?:an?|the|of|to|in|on|at|by|for|from|with|and|or|is|are|was|were|includes?|like|as|one|this|that)$",
    re.IGNORECASE,
)
"""How a part ends that cannot stand alone."""
_LEAD = re.compile(
    r"^(?:(?:and|but|or|so|because|although|though|while|however|also|plus)\s+|(?:well|yes|then),\s+)", re.IGNORECASE
)
_CONCEDES = re.compile(r"\b(?:though|tho|however|mind\s+you)$", re.IGNORECASE)
"""How what goes against the rest of a review ends."""
_AWAITS = re.compile(
    r"(?:(?:I|we)\s+(?:(?:had|was|were)\s+)?)?expect(?:ed|ing)\s+"
    r"(?:it|them|this|that|these|those|the\s+\w+)\s+(?:to|would)"
    r"(?:\s+(?!(?:and|but|yet|though|although|however|instead|only|because|when|if|than|more|less|better|worse|longer"
    r"|larger|bigger|smaller|louder|quieter|stronger|heavier|lighter|faster|thicker|nicer|higher|deeper)\b)[\w'’-]+)+",
    re.IGNORECASE,
)
"""What was expected, and not how it turned out: “I expected it to be loud”."""
_EDGE = " .,;:!?…。、，\"“”'‘’()[]{}<>|*-–—_/\\~=+#&"
_BRACKET = re.compile(r"[?!]?\)")
"""What closes a bracket, with what it asks or exclaims."""
_NAME = re.compile(r"[^\W\d_]{4,}")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FOREIGN = re.compile(r"[^\W\d_\u0000-\u02ff]")


def phrases(title: str, text: str) -> list[str]:
    """The phrases of a review in their order, without repeats, at most `MOST`, the headline first.

    A short sentence is one phrase; a longer one is cut at its clauses, but never where a denial or a hedge (“not”,
    “lacks”, “if”) reaches over the cut; what is then too long, or could not stand alone, is left out. Each phrase has
    at most `LONGEST` words and `LETTERS` characters, and at least two words that carry meaning. A review too short to
    have one (“Great!”) is a phrase of its own, but not one of emoji or digits alone, whose tone the model cannot tell.
    """
    found = [phrase for source in (title, text) for phrase in _cut(_read(source))]
    telling = {phrase.lower(): phrase for phrase in reversed(found) if _tells(phrase)}
    kept = [phrase for phrase in dict.fromkeys(found) if telling.get(phrase.lower()) == phrase]
    if not kept:
        wholes = [_trim(one_line(source)) for source in (text, title)]
        kept = [whole for whole in wholes if any(map(str.isalpha, whole)) and _says(whole)][:1]
    return kept[:MOST]


def sentences(text: str) -> list[str]:
    """The sentences of what is read of a review, whole."""
    return [one for one in map(_trim, _sentences(_read(text))) if one]


def concedes(phrase: str) -> bool:
    """Whether a phrase sets itself as a whole against the rest of its review: “nice views though”.

    Where it has another clause before, only its end does: “hardly any story, nice views though”.
    """
    rest = _CONCEDES.sub("", phrase).rstrip(" ,")
    return rest != phrase and not _CLAUSE.search(rest)


def _read(source: str) -> str:
    """The beginning of a review: the first words to the end of their last sentence, or without it if that is far."""
    enough, more = one_line(source, WORDS)[:CHARACTERS], one_line(source, WORDS + LONGEST)[:CHARACTERS]
    if more == one_line(source):
        return more
    ends = [mark.start() for mark in _SENTENCE.finditer(more)]
    return more[: min((end for end in ends if end >= len(enough)), default=max(ends, default=0))]


def _cut(source: str) -> list[str]:
    parts: list[str] = []
    for sentence in map(_trim, _sentences(source)):
        for line in _split(sentence, _PAUSE):
            cut = [line]
            if len(line.split()) > SHORT:
                cut = [piece for clause in _split(line, _CLAUSE) for piece in _joined(clause)]
            parts += cut if len(cut) == 1 else [part for part in cut if _stands(part, line)]
    return [part for part in parts if _says(part)]


def _sentences(source: str) -> list[str]:
    """The sentences, and their parts at semicolons; what was expected is not cut from how it turned out."""
    parts, start = [], 0
    for mark in _SENTENCE.finditer(source):
        part = source[start : mark.start()]
        if not (mark[0].startswith(";") and _AWAITS.fullmatch(_trim(part))):
            parts.append(part)
            start = mark.end()
    return [*parts, source[start:]]


def _joined(clause: str) -> list[str]:
    return [clause] if len(clause.split()) <= LONGEST else _split(clause, _JOIN)


def _says(phrase: str) -> bool:
    """Whether a phrase is short enough, and not what was expected alone."""
    return len(phrase.split()) <= LONGEST and len(phrase) <= LETTERS and not _AWAITS.fullmatch(phrase)


def _split(text: str, marks: re.Pattern[str]) -> list[str]:
    """The text cut at the marks, but nowhere that a denial or a hedge reaches."""
    parts, start = [], 0
    for mark in marks.finditer(text):
        if not _reaches(text[start : mark.start()], text[mark.end() :]):
            parts.append(text[start : mark.start()])
            start = mark.end()
    return [_trim(part) for part in (*parts, text[start:])]


def _reaches(before: str, after: str) -> bool:
    """Whether either side of a mark may change what the other means."""
    pauses = _PAUSE.split(after.strip(_EDGE))
    pieces = [piece for pause in pauses for piece in _CLAUSE.split(pause) if piece.strip()]
    if any(
        len(piece.split()) <= _AFTERTHOUGHT and (_DENIES.search(piece) or _HEDGES.search(piece))
        for piece in pieces[:1] + pieces[-1:]
    ):
        return True
    denied, hedged = _DENIES.search(before), _HEDGES.search(before)
    if not denied and not hedged:
        return False
    if len(pieces) > 1:  # it may be put in between: “not, though many say so, a warm sound”
        return True
    turned = _TURN.match(after) and not _NO_TURN.search(before)
    return not turned and (bool(hedged) or not _ANEW.match(after))


def _stands(part: str, sentence: str) -> bool:
    """Whether a part of a sentence can stand alone: no relative clause, not broken off, not one of several names."""
    words = _NAME.findall(part)
    others = [word for word in _NAME.findall(sentence) if word[0].islower()]
    whole = not _FRAGMENT.match(part) and not _DANGLING.search(part)
    return whole and not (others and words and all(word[0].isupper() for word in words))


def _tells(phrase: str) -> bool:
    words = sum(word not in ENGLISH_STOP_WORDS for word in _WORD.findall(phrase.lower()))
    return words >= TELLING or len(_FOREIGN.findall(phrase)) >= FOREIGN


def _trim(piece: str) -> str:
    """A piece without what stands at its edges, but with the end of a bracket that it began."""
    before, whole = None, piece
    while piece != before:
        before, piece = piece, _LEAD.sub("", piece.strip(_EDGE))
    if piece.count("(") > piece.count(")") and (end := _BRACKET.match(whole[whole.rindex(piece) + len(piece) :])):
        piece += end[0]
    return piece
