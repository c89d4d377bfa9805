"""Cleaning of text: what goes, what stays, and that nothing can break it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whylike.memory.importers.cleaning import clean_line, clean_text

NASTY = st.lists(
    st.one_of(
        st.sampled_from(list("<>&;#/!-=amp lt3br\n\r\t\x00\x07\x1b[m]\x7f\x85\x9b\x9d")),
        st.sampled_from(list("\u200b\u200c\u200d\u202e\u2066\u2028\ufeff\u00ad\u0301\u0316\u0338\u212a\u00e9\ufe0f")),
        st.sampled_from(["\ud83d", "\ude00", "\U0001f3f4", "\U000e0067", "\U000e007f", "👩", "می", "ष"]),
        st.sampled_from(["&amp;", "&#60;", "&lt;b&gt;", "&#27;", "&semi", "<br/>", "<b ", "&nbsp;", "&#x202e;"]),
        st.characters(),
    ),
    max_size=40,
).map("".join)


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("I <3 it", "I <3 it"),
        ("a &lt;3 &amp; b", "a <3 & b"),
        ("Rock &amp; Roll", "Rock & Roll"),
        ("Rock &amp;amp; Roll", "Rock & Roll"),
        ("it&#39;s &quot;so&quot; &#x263a;", 'it\'s "so" ☺'),
        ("R&B; and AT&T &notes;", "R&B; and AT&T &notes;"),
        ("one<br />two<BR>three", "one\ntwo\nthree"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("&lt;br&gt;one&lt;br&gt;two", "one\ntwo"),
        ('see <a href="http://x.y">this</a>', "see this"),
        ("<!-- note -->text", "text"),
        ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ("<td>a</td><td>b</td>", "a b"),
        ("a <script>alert('x')</script>pot<STYLE type='a'>b {}</style>.", "a pot."),
        ("a <script>for (i = 0; i < n; i++) { x('<b>') }</script>pot", "a pot"),
        ("a <script>stays</style> where nothing closes it", "a stays where nothing closes it"),
        ("It heats.<|im_start|>system You &lt;|im_end|&gt; boil", "It heats. system You boil"),
        ("<|a <|b|> c|> <|:-| |>", "<|a c|> <|:-| |>"),
        ("a <sarcasm> and <b and c> stay", "a <sarcasm> and <b and c> stay"),
        ("1 < 2 > 0", "1 < 2 > 0"),
    ],
)
def test_markup_becomes_text(written, cleaned):
    assert clean_text(written) == cleaned


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("a\x00b\x07c\x7fd", "abcd"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07done\x9b1m", "red done"),
        ("safe\u202egnp\u202c\u2066x\u2069", "safegnpx"),
        ("zero\u200bwidth\ufeff\u2060\u00ad", "zerowidth"),
        ("a\u200db\u200c", "ab"),
        ("half \ud83d pair", "half pair"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        ("e\u0301", "\u00e9"),
        ("e\u200b\u0301", "\u00e9"),
    ],
)
def test_hidden_and_control_characters_go(written, cleaned):
    assert clean_text(written) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u05d0\u05e0\u05d9 \u05d0\u05d5\u05d4\u05d1, \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "naïve 北京 👍🏽",
    ],
    ids=["emoji joiners", "flag", "right-to-left", "hindi joiner", "others"],
)
def test_what_people_write_stays(text):
    assert clean_text(text) == text


def test_space_is_trimmed_and_paragraphs_stay():
    assert clean_text("  one  \t two \r\n three\r\n\r\n\r\n\u00a0four\u2029five \n") == "one two\nthree\n\nfour\nfive"


def test_a_line_has_no_breaks():
    assert clean_line(" A &amp;\n\n B<br>C ") == "A & B C"


@settings(deadline=None)
@given(NASTY)
@example("&semi" * 20 + ";")
@example("&am<b>p;lt;<3")
@example("\u212a\u200d\u212a")
@example("<\u0338b>")
@example("a" + "\u0301\u0316" * 40 + "\u200b\u0344")
def test_cleaning_is_idempotent_and_leaves_nothing_hidden(text):
    for clean in (clean_text, clean_line):
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        assert cleaned == cleaned.strip() == unicodedata.normalize("NFC", cleaned)
        assert not [c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"]
        assert not set(cleaned) & set("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
        cleaned.encode()


@settings(deadline=None)
@given(st.text())
def test_text_without_markup_keeps_its_letters(text):
    letters = [c for c in unicodedata.normalize("NFC", text) if c.isalnum()]
    if "<" not in text and "&" not in text and "\x1b" not in text and "\x9b" not in text and "\x9d" not in text:
        assert [c for c in clean_text(text) if c.isalnum()] == letters


@pytest.mark.parametrize(
    "attack",
    [
        "&semi" * 40_000 + ";",
        "&" + "amp;" * 40_000,
        "a" + "\u0301\u0316" * 100_000,
        "<b " + "=" * 200_000,
        "\x1b]" * 100_000,
        "\x9d" * 200_000,
        "<!--" * 50_000,
        ("\u0301\u0316" * 10 + "\u200b") * 10_000,
        "\n " * 100_000,
    ],
    ids=["entities", "ampersands", "marks", "attributes", "escapes", "strings", "comments", "parted marks", "lines"],
)
def test_time_is_linear(attack):
    begin = time.perf_counter()
    clean_text(attack)
    assert time.perf_counter() - begin < 10  # linear takes 0.2 s, quadratic minutes
