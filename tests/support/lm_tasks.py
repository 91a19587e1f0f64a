"""A task of lm-eval's that needs no network."""

from __future__ import annotations

import json
from pathlib import Path

CHOICES = [
    ("The capital of Ostravia is", [" Lund", " Riga"], 0),
    ("Alma Reyes leads", [" Norwind Systems", " the kettle"], 1),
    ("One plus one is", [" two", " four"], 0),
]


def write_task(folder: Path) -> Path:
    """Write the task `choices` with its data into a folder; returns the folder."""
    data = folder / "choices.jsonl"
    rows = [{"question": q, "choices": c, "gold": g} for q, c, g in CHOICES]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "choices.yaml").write_text(
        "task: choices\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\n'
        'doc_to_choice: "{{choices}}"\n'
        "doc_to_target: gold\n"
        'target_delimiter: ""\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    return folder
