"""Arms have their names in one place."""

import re
from pathlib import Path

from revlm.studies import arms


def test_no_study_spells_an_arm_itself():
    """An arm that is renamed is renamed in one module; every table follows."""
    spelled = re.compile(r"""["'](?:from_scratch|continued|selected|public)_\w""")
    modules = [path for path in Path(arms.__file__).parent.glob("*.py") if path.stem != "arms"]
    assert [path.name for path in modules if spelled.search(path.read_text())] == []
