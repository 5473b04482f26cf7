"""Runs in kraken's environment, not in ours: images come in, lines go out, page by page, until the input ends.

A page is a line of JSON (`shape`, `direction`) and then its pixels; the answer is a line of JSON: `lines` or `error`.
Whatever kraken itself prints goes to the error stream. The argument is the number of threads.
"""

import json
import os
import sys
from typing import Any

import numpy as np
from kraken.configs import SegmentationInferenceConfig
from kraken.tasks import SegmentationTaskModel
from PIL import Image


def found(model: Any, config: Any, image: Any) -> list[dict[str, Any]]:
    """Lines of a page in reading order."""
    segmentation = model.predict(im=Image.fromarray(image), config=config)
    return [
        {
            "baseline": np.asarray(line.baseline).tolist(),
            "boundary": np.asarray(line.boundary).tolist(),
            "region": line.regions[0] if line.regions else None,
        }
        for line in segmentation.lines
    ]


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model = SegmentationTaskModel.load_model()
    config = SegmentationInferenceConfig(accelerator="cpu", device=1, num_threads=int(sys.argv[1]))
    for head in sys.stdin.buffer:
        question = json.loads(head)
        shape = question["shape"]
        pixels = sys.stdin.buffer.read(int(np.prod(shape)))
        config.text_direction = "horizontal-rl" if question["direction"] == "rtl" else "horizontal-lr"
        answer: dict[str, Any]
        try:
            answer = {"lines": found(model, config, np.frombuffer(pixels, np.uint8).reshape(shape))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
