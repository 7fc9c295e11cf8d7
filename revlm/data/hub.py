"""Documents out of a dataset of the Hugging Face hub, or a local folder of one: a repository or a saved dataset."""

from __future__ import annotations

import atexit
import glob
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from revlm.config import CorpusConfig
from revlm.data.document import Document
from revlm.data.reading import Reading, usable_document
from revlm.errors import UserError
from revlm.paths import folders

_PROBE_SECONDS = 10
# What Dataset.save_to_disk and DatasetDict.save_to_disk write beside their rows.
_SAVED = ("state.json", "dataset_dict.json")
_OFFLINE = (
    "Read local copies with data=files data.path=GLOB, or give a local folder as data.path; "
    "HF_HUB_OFFLINE=1 makes every use of the hub fail at once."
)


def read_hub(config: CorpusConfig, reading: Reading | None = None) -> Iterator[Document]:
    """Documents of one split, in stream order; no code of a dataset is ever run.

    Ids are `<split>:<row>` (rows count from 1) unless `data.id` names a column, or the rows have one of
    `ID_COLUMNS`; the domain is the last part of the dataset's name unless `data.domain` does.

    Args:
        config: of the corpus.
        reading: counts what is read and what is left out.

    Raises:
        UserError: the dataset, its configuration, split or a column is not there, or the hub is not.
    """
    if not config.path:
        raise UserError(
            "data=hub reads nothing without a name: set data.path to a dataset id or a local folder."
        )
    domain = PurePosixPath(config.path.rstrip("/")).name
    return _documents(config, _open(config, config.path), domain, reading or Reading())


def _open(config: CorpusConfig, path: str) -> Any:
    import datasets

    local = Path(path)
    where = f"data.path={path}"
    if not local.is_dir():
        _probe(path)
    try:
        if any((local / name).is_file() for name in _SAVED):
            saved = datasets.load_from_disk(str(local))
            return saved[config.split] if isinstance(saved, datasets.DatasetDict) else saved
        # The library would take brackets in a folder's name for a pattern.
        source = _plain_name(local) if local.is_dir() else path
        return datasets.load_dataset(
            source, config.name, split=config.split, revision=config.revision, streaming=True
        )
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(f"{where}: {error}. Check the name, or log in if it is gated. {_OFFLINE}") from error
    except (ConnectionError, TimeoutError) as error:
        raise UserError(f"{where}: the hub cannot be reached ({error}). {_OFFLINE}") from error
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        # An unknown split or configuration, a loading script, a folder without data files.
        raise UserError(
            f"{where} data.name={config.name} data.split={config.split}: cannot be opened: {error}"
        ) from error


def _plain_name(folder: Path) -> str:
    """A path to a folder that holds no sign of a pattern: the folder's own, or that of a folder of links to its files."""
    if not glob.has_magic(str(folder.absolute())):
        return str(folder)
    home = Path(tempfile.mkdtemp(prefix="revlm-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    # The library resolves a link to the folder itself, and would see the brackets again.
    root = folder.absolute()
    for place, names in folders(root):
        copy = home / "folder" / place.relative_to(root)
        copy.mkdir()
        for name in names:
            (copy / name).symlink_to(place / name)
    return str(home / "folder")


def _probe(path: str) -> None:
    """Ask for the dataset once: left alone, the library retries an unreachable hub for half a minute."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    where = f"data.path={path}"
    try:
        huggingface_hub.HfApi().dataset_info(path, timeout=_PROBE_SECONDS)
    except HFValidationError as error:
        raise UserError(
            f"{where} is neither a local folder nor a dataset id (OWNER/NAME). {_OFFLINE}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise UserError(f"{where}: HF_HUB_OFFLINE is set, so the hub is not asked. {_OFFLINE}") from error
    except HfHubHTTPError as error:
        raise UserError(f"{where}: no such dataset, or no access ({error}). {_OFFLINE}") from error
    except Exception as error:
        # Transport errors come from whichever HTTP client the library uses.
        raise UserError(f"{where}: the hub cannot be reached ({type(error).__name__}). {_OFFLINE}") from error


def _documents(config: CorpusConfig, stream: Any, domain: str, reading: Reading) -> Iterator[Document]:
    rows = iter(stream)
    for number in itertools.count(1):
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise UserError(
                f"data.path={config.path} split {config.split} breaks off after row {number - 1} "
                f"({type(error).__name__}: {error}). {_OFFLINE}"
            ) from error
        reading.rows += 1
        where = f"{config.path} split {config.split} row {number}"
        default = f"{config.split}:{number}"
        found = usable_document(row, config, reading, where=where, doc_id=default, domain=domain or "hub")
        if found is not None:
            yield found[1]
