"""The command line: help at once, exit codes, what the commands print and write."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from htr_ssl import __version__, plugins
from htr_ssl.cli import app, main
from htr_ssl.handwriting.page import page

TINY = ["train.steps=4", "train.batch_size=4", "train.threads=1", "train.device=cpu"]
COMMANDS = sorted(get_command(app).commands)


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["htr-ssl", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.parquet"
    arguments = ["data", "synth", str(path), "--level", "word", "--samples", "60", "hands=10"]
    subprocess.run([sys.executable, "-m", "htr_ssl", *arguments], check=True)
    return path


def test_all_commands_are_there():
    wanted = (
        "data encoders evaluate export finetune formats learn lm methods models neighbours pretrain profile quickstart"
    )
    assert [*wanted.split(), "segment", "show", "splits", "table", "transcribe", "views"] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Usage: htr-ssl" in out


def test_the_first_help_says_where_to_start_and_where_words_are_explained(run):
    text = " ".join(run("--help")[1].split())
    assert "With scans: htr-ssl transcribe reads them, you correct some pages, htr-ssl learn learns from those" in text
    glossary = (Path(__file__).parents[2] / "docs/glossary.md").read_text(encoding="utf-8")
    assert "docs/glossary.md" in text
    words = {
        word.strip() for words in re.findall(r"^\| ([^|]+) \|", glossary, re.MULTILINE) for word in words.split(",")
    }
    helps = [
        get_command(app),
        *get_command(app).commands.values(),
        *get_command(app).commands["data"].commands.values(),
    ]
    shown = " ".join(
        [
            *(str(one.help) for one in helps),
            *(str(p.help) for one in helps for p in getattr(one, "params", []) if hasattr(p, "help")),
        ]
    )
    known = {
        word for word in ("ALTO", "PAGE", "IIIF", "Parquet", "confidence", "label", "CER", "split") if word in shown
    }
    assert len(known) == 8
    assert known <= words


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys, time; start = time.process_time()\n"
        "from htr_ssl.cli import main\n"
        "sys.argv = ['htr-ssl', 'finetune', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "seconds = time.process_time() - start\n"
        "heavy = {'torch', 'lightning', 'cv2', 'matplotlib', 'pyarrow', 'numpy', 'htr_ssl.config'} & set(sys.modules)\n"
        "print(f'seconds={seconds} heavy={sorted(heavy)}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert float(last.split()[0].removeprefix("seconds=")) < 3  # of the processor: the machine may be busy
    assert "heavy=[]" in last


def test_the_imports_of_a_reading_are_no_garbage_to_look_for(tmp_path):
    script = (
        "import gc, sys\n"
        "from htr_ssl.cli import main\n"
        f"sys.argv = ['htr-ssl', 'transcribe', {str(tmp_path / 'gone.jpg')!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(gc.get_freeze_count() > 100_000, gc.isenabled(), sum(kind['collections'] for kind in gc.get_stats()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    frozen, enabled, collections = done.stdout.split()
    assert (frozen, enabled) == ("True", "True")
    assert int(collections) < 150  # over 400 while PyTorch is imported, if it is not kept from it


def test_version_and_module():
    done = subprocess.run([sys.executable, "-m", "htr_ssl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


def test_bad_usage_ends_with_2(run):
    assert run("finetun")[0] == 2
    assert run("transcribe", "model.safetensors")[0] == 2
    assert run("pretrain", "x.yaml", "--nothing")[0] == 2


def test_mistake_is_one_line_and_ends_with_2(run, tmp_path):
    (tmp_path / "run.yaml").write_text("train: {stepz: 3}")
    code, out, err = run("finetune", tmp_path / "run.yaml", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.strip().endswith("run.yaml:1: train.stepz: there is no such key; did you mean train.steps?")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["pretrain", "finetune", "table"])
def test_missing_configuration(run, tmp_path, command):
    code, _, err = run(command, tmp_path / "no.yaml")
    assert code == 2
    assert "there is no such file" in err


def test_no_file_is_needed_anywhere(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    small = ["data.level=word", "data.height=16", "train.steps=1", "train.batch_size=2", "train.threads=1"]
    assert run("finetune", f"data.source={words}", *small, "--quiet")[0] == 0
    assert Path("runs/finetune/model.safetensors").is_file()
    code, out, _ = run("show", "finetune", "--yaml", "train.steps=7")
    assert code == 0
    Path("mine.yaml").write_text(out, encoding="utf-8")
    assert "# Number of updates.\n  steps: 7\n" in out
    assert run("show", "mine.yaml", "--yaml") == (0, out, "")
    assert "simclr" in run("show", "pretrain")[1]
    Path("a=b.yaml").write_text("name: x", encoding="utf-8")
    assert run("show", "a=b.yaml", "--yaml", "train.steps=7")[1].endswith(out.partition("\n")[2].partition("\n")[2])
    code, _, err = run("finetune", "no.yaml", "train.steps=7")
    assert (code, "no.yaml: there is no such file" in err) == (2, True)


@pytest.mark.parametrize("command", ["evaluate", "transcribe"])
def test_missing_model(run, tmp_path, command):
    more = [tmp_path, "--out", tmp_path / "out"] if command == "transcribe" else []
    code, _, err = run(command, tmp_path / "model.safetensors", *more)
    assert code == 2
    assert "there is no such model file" in err


def test_folder_that_cannot_be_made_is_one_line(run, tmp_path, words):
    (tmp_path / "file").touch()
    code, _, err = run("data", "show", words, "--out", tmp_path / "file" / "sheet.png")
    assert code == 2
    assert re.fullmatch(r"\S*file\S*: (File exists|Not a directory); check the path\n", err)


@pytest.mark.parametrize(
    ("command", "package"), [("methods", "htr_ssl.methods"), ("encoders --seconds=0", "htr_ssl.encoders")]
)
def test_plugins_are_listed_and_explained(run, command, package):
    names = plugins.names(package)
    assert names
    code, out, _ = run(*command.split())
    assert code == 0
    for name in names:
        line = next(line for line in out.splitlines() if line.startswith(name))
        assert len(line.split(maxsplit=1)[1].strip()) > 10
    code, out, _ = run(command.split()[0], names[0])
    assert code == 0
    for key in plugins.load(package, names[0]).Config.model_fields:
        assert re.search(rf"^{key}\b", out, re.MULTILINE)
    code, _, err = run(command.split()[0], names[0] + "x")
    assert code == 2
    assert f"did you mean {names[0]!r}?" in err


def test_methods_are_listed_with_papers_and_options(run):
    code, out, _ = run("methods")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    entries = {entry.split()[0]: " ".join(entry.split()) for entry in out.strip().split("\n\n")}
    assert list(entries) == plugins.names("htr_ssl.methods")
    for name, entry in entries.items():
        module = plugins.load("htr_ssl.methods", name)
        assert module.__doc__.partition("\n")[0] in entry
        options = entry.partition("options: ")[2]
        for field in module.Config.model_fields:
            assert re.search(rf"(^|, ){field}[=.]", options), (name, field)
    assert "arXiv 2002.05709, 2012.10873 options: instance=window, window=5, instances=1024," in entries["simclr"]


def test_formats(run):
    code, out, _ = run("formats")
    assert code == 0
    for package in ("htr_ssl.data.readers", "htr_ssl.pages.formats", "htr_ssl.pages.segment"):
        for name in plugins.names(package):
            assert re.search(rf"^{name}\b", out, re.MULTILINE)


def test_show_explains_and_dumps(run, tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text("rows: {supervised: []}\n")
    code, out, _ = run("show", path, "train.lr=3e-4")
    assert code == 0
    assert re.search(r"^train.lr +0.0003 +Peak learning rate", out, re.MULTILINE)
    code, out, _ = run("show", path, "train.lr=3e-4", "--yaml")
    assert yaml.safe_load(out)["train"]["lr"] == 3e-4
    path.write_text(out)
    assert run("show", path, "--yaml")[1] == out
    assert run("show", path, "rows.x.0.train.steps=1")[0] == 2


def test_synthetic_data_is_checked_and_shown(run, tmp_path, words):
    code, out, _ = run("data", "check", words, "--level", "word")
    assert code == 0
    counts = re.findall(r"^(?:train|validation|test) +(\d+) +(\d+) ", out, re.MULTILINE)
    assert [sum(map(int, column)) for column in zip(*counts, strict=True)] == [60, 60]
    assert out.splitlines()[-1] == "sound: no finding is an error"
    sheet = tmp_path / "sheet.png"
    assert run("data", "show", words, "--level", "word", "--out", sheet, "--samples", 10)[0] == 0
    pixels = np.asarray(Image.open(sheet).convert("L"))
    assert pixels.shape[1] > 5 * 200
    assert (pixels < 100).mean() > 0.002
    again = tmp_path / "again.parquet"
    assert run("data", "synth", again, "--level", "word", "--samples", 60, "hands=10")[0] == 0
    assert again.read_bytes() == words.read_bytes()
    code, _, err = run("data", "synth", again, "hnds=3")
    assert code == 2
    assert "did you mean hands?" in err


def test_check_finds_faults(run, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for number in range(2):
            path = tmp_path / split / f"{number}.png"
            Image.fromarray(rng.integers(0, 255, (48, 100), np.uint8)).save(path)
            path.with_suffix(".gt.txt").write_text("ab", encoding="utf-8")
    (tmp_path / "test" / "copy.png").write_bytes((tmp_path / "train" / "0.png").read_bytes())
    (tmp_path / "train" / "1.gt.txt").write_text("a text much too long for its image")
    (tmp_path / "train" / "blank.png").write_bytes(b"")
    Image.new("L", (30, 30), 255).save(tmp_path / "train" / "white.png")
    page = tmp_path / "report.html"
    code, out, _ = run("data", "check", tmp_path, "--html", page)
    assert code == 1
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip()]
    assert [line[1:3] for line in lines if line[0] in ("train", "test")] == [["4", "2"], ["3", "2"]]
    found = {tuple(line[:2]): line[2] for line in lines if line[0] in ("error", "warning")}
    assert found["error", "unreadable: 1"].startswith("train/blank.png: the image is empty")
    assert found["error", "blank: 1"] == "train/white.png"
    assert found["error", "text too long for its image: 1"].startswith("train/1.png: 34 characters")
    assert found["error", "same image in two splits: 1"] == "test/copy.png (test) = train/0.png (train): 'ab'"
    assert lines[-1][0].startswith("not sound: ")
    assert "same image in two splits: 1" in lines[-1][0]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    code, out, _ = run("data", "check", tmp_path, "--json")
    report = json.loads(out)
    assert code == 1
    assert "unreadable: 1" in report["reasons"]
    code, _, err = run("data", "check", tmp_path, "--html", tmp_path)
    assert code == 2
    assert "this is a folder" in err


def test_from_images_to_pages(run, tmp_path, words):
    """Pretrain, fine-tune from it, evaluate, transcribe: four steps, only to see that the commands fit together."""
    (tmp_path / "run.yaml").write_text(f"data: {{source: {words}, level: word}}\n")
    code, out, err = run(
        "pretrain", tmp_path / "run.yaml", *TINY, "method=simclr", "--out", tmp_path / "pretrain", "--quiet"
    )
    assert (code, err) == (0, "")
    encoder = Path(out.strip())
    assert encoder == tmp_path / "pretrain" / "encoder.safetensors"
    code, out, err = run(
        "finetune", tmp_path / "run.yaml", *TINY, f"init={encoder}", "--out", tmp_path / "finetune", "--quiet"
    )
    assert code == 0
    assert all(line.startswith("warning: ") for line in err.splitlines())
    model = Path(out.strip())
    assert model.is_file()
    code, out, _ = run("evaluate", model, words, "--out", tmp_path / "scores", "--device", "cpu")
    assert code == 0
    assert re.search(r"^WAcc +[\d.]+ % +\[[\d.]+, [\d.]+\]", out, re.MULTILINE)
    assert (tmp_path / "scores" / "result.json").is_file()
    code, _, err = run("evaluate", encoder)
    assert code == 2
    assert "without a CTC head" in err
    scans, text = tmp_path / "scans", tmp_path / "text"
    scans.mkdir()
    Image.fromarray(page(seed=0, lines=3)[0]).save(scans / "page.png")
    (scans / "broken.png").write_bytes(b"no image")
    code, _, err = run("transcribe", model, scans, "--out", text, "--format", "txt", "--device", "cpu")
    assert code == 1
    assert "broken.png" in err
    assert "1 of 2 failed" in err
    assert sorted(path.stem for path in text.rglob("*.txt")) == ["page", "summary"]


def test_stopping_says_how_to_go_on(tmp_path, words):
    import signal

    (tmp_path / "run.yaml").write_text(f"data: {{source: {words}, level: word}}\n")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "htr_ssl", "finetune", str(tmp_path / "run.yaml"), *TINY, "train.steps=5000"]
    process = subprocess.Popen(
        [*command, "train.check_every=5", "--quiet", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        # Background jobs of a shell ignore Ctrl-C, and so would this one if the tests run as such a job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while not list(out.glob("checkpoints/*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "the same command goes on from here: htr-ssl finetune" in err
    assert "Traceback" not in err


def test_a_final_table_scores_the_test_split(monkeypatch, tmp_path):
    """Without --final it is the validation split, whatever else is said."""
    from htr_ssl.experiments import table as tables

    seen = []

    class Done(Exception):
        pass

    def stop(config, out, progress):
        seen.append(config.report)
        raise Done

    monkeypatch.setattr(tables, "run", stop)
    (tmp_path / "t.yaml").write_text("rows: {supervised: []}\n")
    for more in ([], ["--final"], ["train.steps=3", "--final"]):
        result = CliRunner().invoke(app, ["table", str(tmp_path / "t.yaml"), *more])
        assert isinstance(result.exception, Done)
    assert seen == ["validation", "test", "test"]


def test_help_of_table_says_what_a_reviewer_asks():
    text = " ".join(CliRunner().invoke(app, ["table", "--help"]).output.replace("│", " ").split())
    for part in (
        "--final",
        "interval_unit",
        "Holm",
        "pretrain_seeds",
        "select",
        "matched",
        "what each row cost",
        "read when",
    ):
        assert part in text, part


def test_threads_and_unit_of_evaluate_arrive(monkeypatch, tmp_path):
    from htr_ssl.experiments import evaluate as evaluation

    seen = {}

    def stop(model, data, split, out, device, threads, unit, lm):
        seen.update(threads=threads, unit=unit)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", stop)
    CliRunner().invoke(app, ["evaluate", str(tmp_path / "m.safetensors"), "--threads", "3", "--interval-unit", "page"])
    assert seen == {"threads": 3, "unit": "page"}
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "m.safetensors"), "--interval-unit", "book"])
    assert "writer, page, sample" in str(result.exception)
