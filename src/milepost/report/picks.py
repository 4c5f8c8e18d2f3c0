"""The table of `milepost show --picks`: what each checkpoint picked, by position and by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from milepost.analysis.pick_bias import PickBias, pick_bias, position_name
from milepost.report.blocks import Block, Note
from milepost.report.formatting import step_label
from milepost.report.table import Table, cells, columns, grouped
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable
from milepost.types.picks import Picks

LEGEND = Phrase(
    "A, B, ...: % of docs whose pick stands first, second, ...; bits: entropy of these, 0 is always one; "
    "bias: % of picks that would have to move to be spread as the right answers are"
)
LENGTHS = Phrase("s, ..., l: % of picks that are the shortest, ..., the longest choice of their doc")
MOST_LENGTHS = 6


def pick_records(picks: Sequence[Picks]) -> list[dict[str, object]]:
    """Return an object per series, checkpoint and task."""
    return [_record(each, pick_bias(each.counts)) for each in picks]


def _record(picks: Picks, bias: PickBias) -> dict[str, object]:
    return {
        "series": picks.series,
        "checkpoint": picks.checkpoint,
        "step": picks.step,
        "task": picks.task,
        "n": picks.counts.n,
        "same_choices_in_every_doc": picks.counts.fixed,
        "picked": bias.picked,
        "right": bias.right,
        "constant_answer_accuracy": picks.counts.constant,
        "entropy_bits": bias.entropy_bits,
        "bias": bias.excess,
        "picked_by_length": bias.by_length,
        "right_by_length": bias.right_by_length,
    }


def pick_report(picks: Sequence[Picks]) -> Iterator[Block]:
    """Yield a table per series and task: steps down, positions across, the right answers below; a legend."""
    for (series, task), steps in grouped(picks, lambda each: (each.series, each.task)).items():
        yield _table(joined(": ", (printable(series), printable(task))), steps)
        yield ""
    by_length = any(pick_bias(each.counts).by_length for each in picks)
    yield Note(joined("; ", (LEGEND, LENGTHS)) if by_length else LEGEND)


def _table(title: str, steps: Sequence[Picks]) -> Table:
    biases = [pick_bias(each.counts) for each in steps]
    positions = max(len(bias.picked) for bias in biases)
    lengths = max(len(bias.by_length) for bias in biases)
    length_columns = ["s", *map(str, range(2, lengths)), "l"][:MOST_LENGTHS] if lengths else []
    last = biases[-1]
    return Table(
        columns("step", *map(position_name, range(positions)), "bits", "bias", *length_columns),
        tuple(
            cells(
                [
                    step_label(each.step, each.checkpoint),
                    *_percent(bias.picked, positions),
                    f"{bias.entropy_bits:.2f}",
                    f"{100 * bias.excess:.1f}",
                    *_percent(bias.by_length, len(length_columns)),
                ]
            )
            for each, bias in zip(steps, biases, strict=True)
        ),
        title=title,
        footer=(
            cells(
                [
                    Phrase("right"),
                    *_percent(last.right, positions),
                    "",
                    "",
                    *_percent(last.right_by_length, len(length_columns)),
                ]
            ),
        ),
    )


def _percent(shares: Sequence[float], n: int) -> list[str]:
    """Return the first `n` shares in percent; empty texts where there are fewer."""
    return [f"{100 * share:.1f}" for share in shares[:n]] + [""] * (n - len(shares))
