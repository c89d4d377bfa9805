"""`whylike chat` at the command line: the demo corpus, the real model, turns that are piped in."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "memory" / "demo_corpus"
CHAT = ("chat", "--user", "rob_k", "--session", "evening")
