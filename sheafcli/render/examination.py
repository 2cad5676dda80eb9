"""What an examination says, for the terminal: its first lines and its tables, the most important first."""

from __future__ import annotations

from rich.table import Table

from sheafcli.core.pinned import Pinned
from sheafcli.diagnostics.examination import Examination
from sheafcli.diagnostics.pinned import PinnedDiscord
from sheafcli.render.diagnosis_tables import blame_table, class_table, findings_table, samples_table
from sheafcli.render.numbers import percent
from sheafcli.render.tables import discord_tables, neurons_table
from sheafcli.runs.samples import Samples


def headlines(samples: Samples, diagnosis: PinnedDiscord) -> list[str]:
    """Return the lines that say what the tables are of."""
    lines = [f"Pinned discord of {len(samples.X)} samples ({samples.part}): input and true output pinned"]
    if isinstance(diagnosis.equilibrium, Pinned):
        leaving = diagnosis.equilibrium.leaving
        mean, most = percent(float(leaving.mean())), percent(float(leaving.max()))
        lines.append(
            f"To first order, on the pattern of the forward pass, which {mean} of the activations would "
            f"leave (of one sample's at most {most})."
        )
    return lines


def examination_tables(found: Examination, most_neurons: int, most_samples: int) -> list[Table]:
    """Return which layer is at fault, the findings, the discord, and the neurons and samples with most."""
    diagnosis = found.diagnosis
    trained_on = found.samples.other_part if found.samples.part == "test" else found.samples.part
    tables = [blame_table(found.layers, trained_on)]
    if found.findings:
        tables.append(findings_table(found.findings))
    tables += discord_tables(diagnosis.edges)
    if diagnosis.classes is not None:
        tables.append(class_table(diagnosis.classes))
    return [
        *tables,
        neurons_table(diagnosis.neurons, most_neurons),
        samples_table(diagnosis.samples, diagnosis.edges, most_samples),
    ]
