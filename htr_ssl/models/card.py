"""Cards: what a model is, in Markdown with front matter as Hugging Face and HTRMoPo (Zenodo) read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from htr_ssl import __version__, model_file
from htr_ssl.text.charset import Charset

_RATES = {"cer": "CER", "wer": "WER", "wacc": "WAcc"}


def card(path: Path, result: Path | None = None) -> str:
    """Text of a card, with the gaps that only its author can fill marked by TODO.

    Args:
        path: a recognizer's or encoder's file. If a card lies beside it (same name, .md), that is returned.
        result: result.json of `evaluate`; None = the one beside the model, if there is one.

    Raises:
        UserError: the file is not a model.
    """
    header = model_file.read_header(path)
    own = path.with_suffix(".md")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    scores = _scores(result or path.with_name("result.json"))
    front = yaml.safe_dump(_front(path, header, scores), sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{front}---\n\n{_body(path, header, scores)}"


def _scores(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "cer" in found else {}


def _front(path: Path, header: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    name = path.parent.name if path.stem == "model" else path.stem
    front: dict[str, Any] = {
        "summary": f"TODO: one sentence on {name}",
        "authors": [{"name": "TODO", "affiliation": "TODO"}],
        "license": "TODO: an SPDX name such as cc-by-4.0",
        "language": ["TODO: ISO 639-3, such as fra"],
        "script": ["TODO: ISO 15924, such as Latn"],
        "tags": ["htr", "handwritten-text-recognition", "ctc"],
        "pipeline_tag": "image-to-text",
        "library_name": "htr-ssl",
        "software_name": "htr-ssl",
        "software_hints": [f"version={__version__}", f"kind={header.get('kind')}"],
        "model_type": ["recognition" if header.get("kind") == "recognizer" else "encoder"],
        "datasets": ["TODO: address of the data"],
    }
    if header.get("init"):
        front["base_model"] = [str(header["init"])]
    if scores:
        front["metrics"] = {name: round(100 * scores[name], 2) for name in ("cer", "wer")}
        task = {"type": "image-to-text"}
        dataset = {"name": str(scores["data"]), "type": "htr", "split": str(scores["split"])}
        found = [{"type": name, "value": round(100 * scores[name], 2)} for name in _RATES]
        front["model-index"] = [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": found}]}]
    return front


def _body(path: Path, header: dict[str, Any], scores: dict[str, Any]) -> str:
    """What the file knows of itself, in sentences and a table."""
    encoder = header["encoder"]
    rows = [
        ("architecture", f"{encoder['name']} ({_options(encoder)}) and CTC"),
        ("images", f"{header['height']} px high, {'colour' if header['channels'] == 3 else 'gray'}"),
    ]
    if "charset" in header:
        characters = Charset.from_header(header["charset"]).characters
        rows.append(("characters", f"{len(characters)}: `{''.join(characters)}`"))
        rows.append(("text rule", str(header.get("normalisation", ""))))
    if header.get("language_model"):
        known = header["language_model"]
        rows.append(("language model", f"character {known['order']}-grams, weights {known['alpha']}, {known['beta']}"))
    if "labels" in header:
        share = f"{100 * header['fraction']:g} % of the labels" if "fraction" in header else ""
        rows.append(("trained on", f"{header['labels']} labelled images ({share}) of `{header['data']['source']}`"))
    rows.append(("started from", str(header.get("init") or "nothing")))
    parts = [f"# {path.stem}", "", "TODO: what it reads well, and what it is bad at.", ""]
    parts += ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows), ""]
    if scores:
        parts += [f"On {scores['n']} images of `{scores['data']}` ({scores['split']}):", "", "| | | 95 % |"]
        parts += ["| --- | ---: | --- |"]
        for name, title in _RATES.items():
            low, high = scores[f"{name}_ci"]
            parts.append(f"| {title} | {100 * scores[name]:.1f} % | {100 * low:.1f} to {100 * high:.1f} |")
        parts.append("")
    parts += ["    htr-ssl transcribe MODEL.safetensors page.jpg --out text", ""]
    return "\n".join(parts)


def _options(encoder: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in encoder.items() if key != "name")
