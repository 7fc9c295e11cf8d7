"""Keep what a study needs of its runs: `python -m revlm.collect runs=runs/laptop/02_from_scratch out=FOLDER`."""

from __future__ import annotations

from pathlib import Path

from revlm import cli
from revlm.config import CollectConfig


def collect(config: CollectConfig) -> None:
    """The compact records of finished runs, the folder last."""
    from revlm.studies.records import collect as collect_records

    for path in collect_records(Path(config.runs), Path(config.out), config.keep):
        print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
    print(config.out)


if __name__ == "__main__":
    cli.run(collect)
