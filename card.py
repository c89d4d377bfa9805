"""Results for people: the card of an explanation (rating, reason, evidence, makers), a profile, an ingest."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from whylike.agents.distributions import ALIKE, COVERED
from whylike.dates import day
from whylike.explanation import AspectLists, Evidence, Explanation, Rating, Reason
from whylike.records import Item, ItemProfile, Profile, ReviewSummary, Side
from whylike.terminal import Narrow, many, plain

if TYPE_CHECKING:
    from whylike.memory.ingest import FileReport, IngestReport
    from whylike.memory.store import Counts

SHOWN = 6
"""Reviews that the card lists where the reason cites none."""
LONGEST_NAME = 60
"""Characters of a title or an id that the card shows."""
BLOCKS = " ▏▎▍▌▋▊▉█"
"""Nothing to a whole character in eighths."""
DEMO = (
    "Twenty real films; the people and all 382 of their reviews are invented for this demo. The sentence under each "
    "title says what whoever invented them expects."
)
"""What the demo says before its first card."""
BASE = "base:"
"""What the version of an expert begins with where no adapter has been trained."""
TEACHER = "openai:"
"""What it begins with where a teacher wrote in the expert's place."""
CHOSEN = {
    ItemProfile.ALL: "all: the item's newest reviews",
    ItemProfile.HELPFUL: "helpful: the item's reviews with the most helpful votes",
    ItemProfile.NEIGHBOURS: "neighbours: reviews by the users most like this one",
}
"""Which reviews of the item were read."""


class Bar:
    """A share between 0 and 1 as a horizontal bar as wide as there is room."""

    def __init__(self, share: float, style: str) -> None:
        self._share = min(max(share, 0.0), 1.0)
        self._style = Style.parse(style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.ascii_only:
            text = "#" * round(self._share * options.max_width)
        else:
            whole, eighths = divmod(round(self._share * options.max_width * 8), 8)
            text = BLOCKS[-1] * whole + BLOCKS[eighths].strip()
        yield Segment(text.ljust(options.max_width), self._style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(4, options.max_width)


def card(
    explanation: Explanation, item_of: Callable[[str], Item | None], why: str = "", *, with_reason: bool = True
) -> RenderableType:
    """The card for one explanation.

    Args:
        explanation: What to show.
        item_of: Finds an item by its id; one that it does not find goes by its id.
        why: One line on why this pair is worth looking at.
        with_reason: Whether a reason was asked for.

    Returns:
        Something for a rich console of any width. Nothing in it can command the terminal.
    """
    ids = dict.fromkeys([explanation.item_id, *(each.item_id for each in explanation.evidence)])
    names = {item_id: _name(item.name if (item := item_of(item_id)) else item_id) for item_id in ids}
    cited = _numbers(explanation)
    parts: list[RenderableType] = [
        Text(""),
        Panel(
            Text.assemble(
                (names[explanation.item_id], "bold"),
                "\nfor ",
                (_name(explanation.user_id), "bold"),
                f", as of {day(explanation.as_of)}",
            ),
            box=box.HEAVY,
            border_style="cyan",
            padding=(0, 1),
        ),
    ]
    if why:
        parts.append(_indented(Text(plain(why), style="italic")))
    # Who mistyped an id is to know before reading on.
    if explanation.notes:
        parts += _section("Notes", *(_bullet(note) for note in explanation.notes))
    parts.append(_rating(explanation.rating))
    if with_reason:
        parts += _section("Why", _reason(explanation.reason, cited))
        parts += _section("Evidence", *_evidence(explanation, cited, names))
    if explanation.reason:
        parts += _section("Made by", _makers(explanation))
    parts.append(Text(""))
    return Narrow(Group(*parts))


def profile_card(profile: Profile, name: str, said: Sequence[tuple[str, ReviewSummary]] = ()) -> RenderableType:
    """A profile: what its subject's reviews add up to, what wrote it, and what the reviews say in their own words.

    Args:
        profile: What to show.
        name: What its subject is called.
        said: Summaries of its reviews, each with what the other side of the review is called: the item, or the user.
    """
    whose = "user" if profile.side is Side.USER else "item"
    lists = AspectLists(likes=list(profile.likes), dislikes=list(profile.dislikes))
    likes, dislikes = ("likes", "dislikes") if profile.side is Side.USER else ("liked for", "disliked for")
    rests = "" if profile.as_of is None else f" from reviews up to {day(profile.as_of)}"
    made = Text(f"Written{rests} by {_version(profile.adapter_version)}.", style="dim")
    parts = [
        Text.assemble((_name(name), "bold"), f" ({whose})"),
        _points(likes, lists.likes, "green"),
        _points(dislikes, lists.dislikes, "red"),
    ]
    # A taught Summarizer lists in words of its own, which may be odd; the reader is to see what they were read from.
    rows = [(about, _said(each.praise or (), each.blame or ())) for about, each in said]
    own = [Text.assemble((_name(about), "bold"), ": ", told) for about, told in rows if told]
    if own:
        whom = "in the user's words:" if profile.side is Side.USER else "in reviewers' words:"
        parts.append(_indented(Group(Text(whom), *own)))
    return Narrow(Group(*parts, made))


def demo_card(seconds: Mapping[str, float], store: Path) -> RenderableType:
    """How the demo ends: what took how long, and what to try next."""
    there = shlex.quote(plain(str(store)))
    return Text(
        "\n".join(
            (
                "Seconds",
                *(f"  {took:6.1f}  {plain(part)}" for part, took in seconds.items()),
                "",
                "Try next",
                f"  whylike explain --store {there} --user priya_r --item the-grand-budapest-hotel-2014",
                f"  whylike profile show --store {there} --user priya_r",
                "  whylike ingest --help    how to read your own reviews",
            )
        )
    )


def ingest_card(report: IngestReport, counts: Counts, seconds: float) -> RenderableType:
    """What an ingest did and what the store holds now."""
    files = [file for file in (report.items, report.reviews) if file is not None]
    rate = sum(file.rows for file in files) / max(seconds, 1e-3)
    now = (
        f"The store has {many(counts.reviews, 'review')} by {many(counts.users, 'user')} "
        f"of {many(counts.items, 'item')}, "
        f"on the scale {report.scale} ({rate:,.0f} rows a second)."
    )
    return Text("\n".join([*map(_file, files), now]))


def _file(file: FileReport) -> str:
    """What became of a file, for people."""
    counts = {"review": file.reviews, "rated pair": file.pairs, "item": file.items, "profile": file.profiles}
    held = [many(count, noun) for noun, count in counts.items() if count]
    lines = [f"{file.file}: {file.seen}", f"  {', '.join([many(file.rows, 'row'), *held])}"]
    if file.reviews or file.pairs:
        lines.append(f"  {file.reviews_added + file.pairs_added:,} new, {file.present:,} there already")
    if file.rejected:
        lines.append(f"  {file.rejected:,} rejected, with the reasons in {file.rejects}")
    return plain("\n".join(lines), lines=True)


def _rating(rating: Rating) -> RenderableType:
    low, high = rating.interval
    lowest, highest, *step = rating.scale
    steps = f" in steps of {step[0]:g}" if step else ""
    shares = rating.distribution.values()
    flat = max(shares, default=0.0) - min(shares, default=0.0) < ALIKE
    likely = (
        "No rating is likelier than another"
        if flat
        else f"Most likely {rating.mode:g}; with at least {COVERED:.0%} probability between {low:.3g} and {high:.3g}"
    )
    head = Text.assemble(
        "Expected rating ",
        (f"{rating.expectation:.1f}", "bold"),
        f" on a scale of {lowest:g} to {highest:g}{steps}\n{likely}",
    )
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right")
    rows.add_column(ratio=1, max_width=50)
    rows.add_column(justify="right")
    rows.expand = True
    most = max(rating.distribution.values(), default=0.0)
    for label, share in sorted(rating.distribution.items(), key=lambda entry: -float(entry[0])):
        style = "cyan" if share == most else "blue"
        rows.add_row(Text(label), Bar(share, style), Text(f"{share:4.0%}"))
    alone, bias = rating.uncalibrated_expectation, rating.bias_baseline
    if alone != bias:
        made = f"The model alone would say {alone:.1f}, the averages {bias:.1f}."
    else:
        made = "It rests on the averages alone."
    without = Text(made, style="dim")
    return _indented(Group(Text(""), head, Text(""), rows, Text(""), without))


def _reason(reason: Reason | None, cited: Mapping[str, int]) -> Text:
    if reason is None:
        return Text("Nothing is known that a reason could rest on.", style="dim")
    text = Text()
    for sentence in reason.sentences:
        text.append(plain(sentence.text).strip())
        marks = "".join(f"[{cited[each]}]" for each in sentence.evidence if each in cited)
        marks += "".join(f"[{side}'s profile]" for side in sentence.profiles)
        if not sentence.supported:
            text.append(" [no evidence]", style="yellow")
        elif marks:
            text.append(f" {marks}", style="cyan")
        text.append(" ")
    text.rstrip()
    if not all(sentence.supported for sentence in reason.sentences):
        text.append("\n[no evidence] marks what no review bears out: read it as a guess.", style="dim")
    return text


def _numbers(explanation: Explanation) -> dict[str, int]:
    """The number of each review that the reason cites, in order; of the first few where it cites none."""
    known = {each.id for each in explanation.evidence}
    sentences = explanation.reason.sentences if explanation.reason else []
    cited = dict.fromkeys(
        each for sentence in sentences if sentence.supported for each in sentence.evidence if each in known
    )
    shown = list(cited) or [each.id for each in explanation.evidence[:SHOWN]]
    return {review_id: number for number, review_id in enumerate(shown, start=1)}


def _evidence(
    explanation: Explanation, numbers: Mapping[str, int], names: Mapping[str, str]
) -> Iterable[RenderableType]:
    by_id = {each.id: each for each in explanation.evidence}
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", style="cyan", no_wrap=True)
    rows.add_column(ratio=1)
    for review_id, number in numbers.items():
        evidence = by_id[review_id]
        about = "this item" if evidence.item_id == explanation.item_id else names[evidence.item_id]
        rows.add_row(Text(f"[{number}]"), _review(evidence, about, explanation))
    if numbers:
        yield rows
    rest = len(by_id) - len(numbers)
    if rest:
        yield Text(f"Read too: {many(rest, 'more review')}, which --json lists.", style="dim")
    if not by_id:
        yield Text("No review was read for this answer.", style="dim")


def _review(evidence: Evidence, about: str, explanation: Explanation) -> Text:
    text = Text.assemble((_name(evidence.user_id), "bold"), " on ", (about, "bold"))
    text.append(f": {evidence.rating:g} of {explanation.rating.scale[1]:g}, {day(evidence.timestamp)}")
    summary = evidence.summary
    # Of what a taught Summarizer made of the review only what it was read from: the reader is to see the evidence.
    taught = summary.praise is not None
    likes, dislikes = (summary.praise or (), summary.blame or ()) if taught else (summary.likes, summary.dislikes)
    said = _said(likes, dislikes, () if taught else summary.preferences)
    text.append("\n").append(said or Text("no phrase of it clearly praises or blames", style="dim"))
    return text


def _said(likes: Sequence[str], dislikes: Sequence[str], concerns: Sequence[str] = ()) -> Text:
    """What a review says in its own words, and what it cares about; empty where there is nothing."""
    parts = (
        ("liked", [f"“{plain(phrase)}”" for phrase in likes]),
        ("disliked", [f"“{plain(phrase)}”" for phrase in dislikes]),
        ("cares about", [plain(concern) for concern in concerns]),
    )
    return Text("; ").join(Text.assemble(f"{verb} ", ", ".join(said)) for verb, said in parts if said)


def _makers(explanation: Explanation) -> RenderableType:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    versions = set(explanation.adapters.values())
    if len(versions) == 1 and next(iter(versions)).startswith(BASE):
        rows.add_row("experts", Text(_version(versions.pop())))
    else:
        for expert, version in explanation.adapters.items():
            rows.add_row(expert, Text(_version(version)))
    if any(each.item_id == explanation.item_id for each in explanation.evidence):
        rows.add_row("profile", Text(CHOSEN[explanation.profiles.item.strategy]))
    rows.add_row("engine", Text(plain(explanation.engine)))
    steps = ", ".join(f"{step} {took:.1f}" for step, took in explanation.seconds.items())
    rows.add_row("seconds", Text(steps))
    return rows


def _version(version: str) -> str:
    """What a version says about itself, plainly where nothing has been trained; a recipe is not for readers."""
    version = version.rsplit("+", 1)[0]
    if version.startswith(BASE):
        return f"base model {plain(version.removeprefix(BASE))} with few-shot prompts, no adapter"
    if version.startswith(TEACHER):
        return f"teacher {plain(version.removeprefix(TEACHER))}, not the student's own Reasoner"
    return f"adapter {plain(version)}"


def _points(label: str, points: Sequence[str], style: str) -> RenderableType:
    if not points:
        return _indented(Text(f"{label}: nothing stands out", style="dim"))
    return _indented(Group(Text(f"{label}:", style=style), *(_bullet(point) for point in points)))


def _section(title: str, *content: RenderableType) -> list[RenderableType]:
    return [Text(""), Rule(Text(title, style="bold"), align="left", style="dim"), _indented(Group(*content))]


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 1, 0, 2))


def _bullet(text: str) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(Text("-"), Text(plain(text)))
    return row


def _name(text: str) -> str:
    shown = plain(text)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
