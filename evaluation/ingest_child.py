"""The process whose memory `whylike bench ingest` measures: ingests one file and imports nothing else.

`python -m whylike.evaluation.ingest_child FILE STORE` writes JSON Lines to standard output: `{"rows": ...}`, those
read so far, after each batch, and at the end `{"result": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

from whylike.errors import WhylikeError
from whylike.evaluation.machine import MIB
from whylike.memory.ingest import Progress, ingest
from whylike.memory.store import Store
from whylike.settings import Settings, load


def peak_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    # On Linux getrusage also counts what the process held before it became Python, its parent's memory among it.
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024 / MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak * 1024 / MIB


def own_settings(store: Path) -> Settings:
    """The settings with an SQLite store in the folder `store`: invented reviews do not belong in a real database.

    Raises:
        UsageError: A setting is not allowed.
    """
    return load({"store": store}).model_copy(update={"database_url": None})


def main(file: Path, store: Path) -> int:
    """Ingest `file` into the SQLite store in the folder `store`.

    Returns:
        The exit status.
    """

    def progress(news: Progress) -> None:
        _tell("rows", news.rows)

    try:
        with Store.open(own_settings(store)) as opened:
            before = peak_mib()
            began = time.perf_counter()
            report = ingest(opened, file, progress=progress).reviews
            seconds = time.perf_counter() - began
    except WhylikeError as error:
        _tell("error", str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    _tell(
        "result",
        {"added": report.reviews_added, "seconds": seconds, "start_mib": before, "peak_mib": peak_mib()},
    )
    return 0


def _tell(kind: str, news: object) -> None:
    sys.stdout.write(json.dumps({kind: news}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
