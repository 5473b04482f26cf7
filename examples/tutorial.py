"""From images to a recognizer in Python, on synthetic handwriting: pretrain, fine-tune, evaluate, read.

Run it as a script, or cell by cell in an editor that knows ``# %%``. Everything is tiny, so that it ends in seconds and
reads badly; with your own folder in place of `DATA` and thousands of steps it reads well.
"""

# %% Data: a folder of line images would be DATA = "lines"
import sys
from pathlib import Path

import htr_ssl

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tutorial")
DATA = {"source": "synthetic", "height": 32, "synthetic": {"samples": 40, "characters": [2, 8]}}
TRAIN = {"steps": 6, "batch_size": 4, "check_every": 3, "threads": 1}

# %% Pretrain an encoder on the images alone
pretrained = htr_ssl.pretrain(data=DATA, method="simclr", scope="backbone", train=TRAIN, out=OUT / "pretrain")
print(pretrained.path)

# %% Fine-tune a recognizer on half of the labels
finetuned = htr_ssl.finetune(data=DATA, init=pretrained, fraction=0.5, train=TRAIN, out=OUT / "finetune")
print(f"{finetuned.path}: validation CER {100 * finetuned.cer:.1f} %")

# %% Score it on the test split, which nothing has looked at so far
scores = htr_ssl.evaluate(finetuned, out=OUT / "finetune")
print(scores)
for item in scores.predictions[:3]:
    print(f"  written {item.written!r}, read {item.read!r}")

# %% Read: line images, or a whole page
from PIL import Image  # noqa: E402

model = htr_ssl.load(finetuned)
line = Image.new("L", (300, 40), "white")
print(model.read(line))
page = model.transcribe(Image.new("L", (400, 300), "white"))
print(f"{len(page.lines)} lines on an empty page")

# %% Compare methods under one protocol
result = htr_ssl.table(
    data=DATA,
    rows={"supervised": [], "simclr": [{"method": "simclr", "scope": "backbone", "train": TRAIN}]},
    fractions=[1.0],
    seeds=[0],
    train=TRAIN,
    out=OUT / "table",
)
print(result)
