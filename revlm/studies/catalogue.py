"""Every study, in the order of the folders below experiments/."""

from __future__ import annotations

from revlm.studies import from_scratch
from revlm.studies.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (from_scratch.STUDY,)}
