"""Documents out of a dataset of the Hugging Face hub, or a local folder of one, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from revlm.config import CorpusConfig
from revlm.data.document import Document, document_from_row
from revlm.errors import UserError

_PROBE_SECONDS = 10
_OFFLINE = (
    "Read local copies with data=files data.path=GLOB, or give a local folder as data.path; "
    "HF_HUB_OFFLINE=1 makes every use of the hub fail at once."
)


def read_hub(config: CorpusConfig) -> Iterator[Document]:
    """Documents of one split, in stream order; no code of a dataset is ever run.

    Ids are `<split>:<row>` (rows count from 1) unless `data.id` names a column; the domain is the
    last part of the dataset's name unless `data.domain` does.

    Raises:
        UserError: the dataset, its configuration, split or a column is not there, or the hub is not.
    """
    if not config.path:
        raise UserError(
            "data=hub reads nothing without a name: set data.path to a dataset id or a local folder."
        )
    stream = _open(config, config.path)
    return _documents(config, stream, PurePosixPath(config.path.rstrip("/")).name)


def _open(config: CorpusConfig, path: str) -> Any:
    import datasets

    local = Path(path)
    where = f"data.path={path}"
    if not local.is_dir():
        _probe(path)
    try:
        source = str(local) if local.is_dir() else path
        return datasets.load_dataset(
            source, config.name, split=config.split, revision=config.revision, streaming=True
        )
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(f"{where}: {error}. Check the name, or log in if it is gated. {_OFFLINE}") from error
    except (ConnectionError, TimeoutError) as error:
        raise UserError(f"{where}: the hub cannot be reached ({error}). {_OFFLINE}") from error
    except (ValueError, RuntimeError, OSError) as error:
        # An unknown split or configuration, a loading script, a folder without data files.
        raise UserError(
            f"{where} data.name={config.name} data.split={config.split}: cannot be opened: {error}"
        ) from error


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


def _documents(config: CorpusConfig, stream: Any, domain: str) -> Iterator[Document]:
    rows = enumerate(stream, start=1)
    number = 0
    while True:
        try:
            number, row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise UserError(
                f"data.path={config.path} split {config.split} breaks off after row {number} "
                f"({type(error).__name__}: {error}). {_OFFLINE}"
            ) from error
        where = f"{config.path} split {config.split} row {number}"
        yield document_from_row(
            row, config, where=where, doc_id=f"{config.split}:{number}", domain=domain or "hub"
        )
