"""Every study, in the order of the folders below experiments/."""

from __future__ import annotations

from revlm.studies import continued, from_scratch, intersection, pretrained_bias, quality, selected
from revlm.studies.study import Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (pretrained_bias, from_scratch, continued, intersection, quality, selected)
}
