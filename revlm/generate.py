"""Write text forward or in reverse: `python -m revlm.generate model=runs/.../model direction=reverse text="the end."`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from revlm import cli
from revlm.checks import check
from revlm.config import GenerateConfig
from revlm.errors import UserError
from revlm.sources import one_model

if TYPE_CHECKING:
    from revlm.models.generation import Passage


def generate(config: GenerateConfig) -> None:
    """Texts to the terminal in reading order, or to a file whose name is printed."""
    check(config)
    source = one_model(config.model)
    if config.samples > 1 and config.temperature == 0:
        raise UserError(
            f"samples={config.samples} with temperature=0 would write the same text {config.samples} times: "
            "set temperature= above 0, or samples=1."
        )
    prompts = _prompts(config)
    from revlm.direction import Direction
    from revlm.models.language_model import open_model

    lm = open_model(source, config.model, Path(config.cache.dir), window=None)
    seeds = [config.seed + sample for sample in range(config.samples)]
    passages = lm.passages(
        [prompt for prompt in prompts for _ in seeds],
        direction=Direction(config.direction.name.value),
        num_tokens=config.num_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        seeds=seeds * len(prompts),
        stop_at_end=config.stop_at_end,
        allow=config.allow,
        batch_size=config.batch_size,
    )
    if config.out is None:
        _show(passages, seeds, mark=config.mark)
    else:
        _write(Path(config.out), passages, seeds)
        print(config.out)


def _prompts(config: GenerateConfig) -> list[str]:
    """One prompt, or those of a file, line by line."""
    from revlm.data.document import check_text
    from revlm.data.lines import lines_of

    if (config.text is None) == (config.file is None):
        raise UserError(
            'say what to write from: text="..." (empty to write from nothing), '
            "or a file with one prompt a line, file=PATH; not both."
        )
    if config.text is not None:
        check_text(config.text, "text=")
        return [config.text]
    path = Path(str(config.file))
    # A pipe is no file and can be read.
    if not path.exists() or path.is_dir():
        raise UserError(f"file={path}: there is no such file: name a text file with one prompt a line.")
    lines = [line.removesuffix("\r") for line in lines_of(path)]
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        check_text(line, f"{path}, line {number}")
    return lines


def _show(passages: list[Passage], seeds: list[int], *, mark: bool) -> None:
    """Texts alone, or each under a line that says which it is."""
    num_prompts = len(passages) // len(seeds)
    for index, passage in enumerate(passages):
        if len(passages) > 1:
            prompt, sample = divmod(index, len(seeds))
            print(f"--- prompt {prompt + 1} of {num_prompts}, seed {seeds[sample]}")
        print(passage.marked if mark else passage.text)


def _write(path: Path, passages: list[Passage], seeds: list[int]) -> None:
    from revlm.cache import write_atomically

    rows = [
        {
            "prompt": passage.prompt,
            "direction": passage.direction.value,
            "text": passage.text,
            "written": passage.written,
            "seed": seeds[index % len(seeds)],
        }
        for index, passage in enumerate(passages)
    ]
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    cli.run(generate)
