"""The guide's two examples, planned: what it prints, and what its own rates give beside it.

    python examples/plans.py

The first plays evenly spaced requests, so that the sums can be checked by hand; the second made-up
traffic in office hours. No server is needed. `docs/howto/plan-costs.md` tells what it all means.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COLDSPARK = str(Path(sys.executable).parent / "coldspark")
NANO = 1e9


def plan(*options):
    """Return a plan."""
    words = [COLDSPARK, "plan", "--seeds", "1", "--json", *options]
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def row_of(answer, platform):
    """Return the cheapest row of a platform."""
    rows = [row for row in answer["platforms"] if row["platform"] == platform]
    return min(rows, key=lambda row: row["month_nanos"])


def dollars(nanos):
    return f"${nanos / NANO:,.2f}"


def show(rows):
    """Print columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )
    print()


def thousand_a_day():
    """1,000 requests a day of 2 s on an A10G, two slots kept warm."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.csv")
        rows = "".join(f"{86.4 * number},2\n" for number in range(1000))
        trace.write_text(f"arrival_s,duration_s\n{rows}")
        answer = plan("--trace", str(trace), "--gpus", "A10G", "--min", "2")
    guide, dedicated = row_of(answer, "sagemaker"), row_of(answer, "dedicated")
    parts, even_at = guide["parts"], guide["break_even"]["requests_a_day"]
    print("1,000 requests a day of 2 s, A10G, two slots kept warm, a month:")
    show(
        [
            ("", "the guide prints", "its own rates give"),
            ("provisioned concurrency", "$38", dollars(parts["provisioned concurrency"])),
            ("invocations", "$21", dollars(parts["invocations"])),
            ("GPU compute", "~$100", dollars(parts["compute"])),
            ("together", "~$160", dollars(guide["month_nanos"])),
            ("dedicated A10G", "~$550", dollars(dedicated["month_nanos"])),
            ("break-even, requests a day", "50-100, >100, 500-1,000", f"{even_at:,.0f}"),
        ]
    )


def chatbot():
    """100 requests an hour in eight hours of the day, 3 s each, a 15 GB model."""
    traffic = ["--rate", "100/h", "--hours", "8-16", "--days", "2", "--service", "3s"]
    model = ["--gpu-memory", "15GB", "--gpus", "A10G,A100", "--start", "40s"]
    answer = plan(*traffic, *model, "--p95", "5s", "--no-break-even")
    best = answer["recommended"]
    print("A chatbot with 100 requests an hour from 8 to 16, 3 s each, a month:")
    show(
        [
            ("", "gpu", "a month", "p95", "cold"),
            *(
                (
                    row["title"],
                    row["gpu"],
                    dollars(row["month_nanos"]),
                    f"{row['latency']['p95_s']:.1f} s",
                    f"{row['cold_share']:.1%}",
                )
                for row in answer["platforms"]
                if row["month_nanos"] is not None
            ),
        ]
    )
    print(f"Recommended here: {best['policy']}\n{best['toml']}")


if __name__ == "__main__":
    thousand_a_day()
    chatbot()
