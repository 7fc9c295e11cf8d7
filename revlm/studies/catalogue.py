"""Every study, in the order of the folders below experiments/."""

from __future__ import annotations

from revlm.studies import continued, from_scratch, intersection, pretrained_bias, quality, selected
from revlm.studies.study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        pretrained_bias.STUDY,
        from_scratch.STUDY,
        continued.STUDY,
        intersection.STUDY,
        quality.STUDY,
        selected.STUDY,
    )
}
