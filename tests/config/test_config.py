"""Configuration files: what is accepted, how every mistake is worded, and that dumping and loading are inverse."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from htr_ssl import plugins
from htr_ssl.config import DataConfig, FinetuneConfig, Joint, PluginConfig, PretrainConfig, Strict, TableConfig
from htr_ssl.config.yaml_files import commented, describe, dump_config, kind_of, load_config
from htr_ssl.errors import UserError
from htr_ssl.experiments.plan import check

CONFIGS = sorted(Path(__file__).parents[2].glob("configs/*.yaml"))
KINDS = (PretrainConfig, FinetuneConfig, TableConfig)
PLUGINS = [(package, name) for package in ("htr_ssl.methods", "htr_ssl.encoders") for name in plugins.names(package)]


def load(tmp_path: Path, text: str, *overrides: str, model: type = FinetuneConfig):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides, model)


def mistakes(tmp_path: Path, text: str, *overrides: str, model: type = FinetuneConfig) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides, model=model)
    return str(caught.value).replace(str(tmp_path) + "/", "").splitlines()


def test_values_of_file_and_overrides(tmp_path):
    config = load(
        tmp_path,
        "name: first\ntrain: {steps: 2e3, lr: 1e-3}\ndata:\n  source: scans\n",
        "train.steps=5",
        "train.steps=6",
        "fraction=5e-2",
        "init=",
        "data.height=64",
    )
    assert (config.name, config.train.steps, config.train.lr) == ("first", 6, 0.001)
    assert (config.fraction, config.init, config.data.source, config.data.height) == (0.05, None, "scans", 64)
    assert load(tmp_path, "train: {steps: 2e3}").train.steps == 2000


def test_every_mistake_at_once_in_order(tmp_path):
    text = (
        "name: 5\nseed: 010\ntrian: {}\nlr: 3\ndata:\n  level: lines\n  height: no\n  channels: '1'\n  max_widht: 3\n"
        "encoder: {name: crnn, preset: no, drop: 1}\ntrain:\n  precision: 16\n  clip:\nrows: {}\n"
    )
    assert mistakes(tmp_path, text, "train.lr=abc", "data.x.y=3", "foo", "train.warmup=2") == [
        'run.yaml:1: name: expected text, got 5; quote it: "5"',
        'run.yaml:2: seed: 010 starts with 0: YAML reads it as octal 8; write 10, or "010" as text',
        "run.yaml:3: trian: there is no such key; did you mean train?",
        "run.yaml:4: lr: there is no such key; did you mean train.lr?",
        "run.yaml:6: data.level: expected 'word' or 'line', got lines; did you mean line?",
        "run.yaml:7: data.height: expected a whole number, got no (YAML reads it as false)",
        "run.yaml:8: data.channels: expected 1 or 3, got 1 in quotes; leave the quotes out",
        "run.yaml:9: data.max_widht: there is no such key; did you mean data.max_width?",
        "run.yaml:10: encoder.preset: expected 'small', 'medium' or 'base', got no (YAML reads it as false)",
        "run.yaml:10: encoder.drop: there is no such key; did you mean encoder.dropout?",
        "run.yaml:12: train.precision: expected 'auto', '32' or 'bf16', got 16",
        "run.yaml:13: train.clip: expected a number, got nothing",
        "run.yaml:14: rows: this key belongs to another kind of configuration: htr-ssl table",
        "override 'foo': expected key=value, e.g. train.lr=1e-3",
        "override 'data.x.y=3': data.x: there is no such key; the keys here are " + ", ".join(DataConfig.model_fields),
        "override 'train.lr=abc': train.lr: expected a number, got abc",
        "override 'train.warmup=2': train.warmup: expected a number below 1.0, got 2",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("name: no", 'run.yaml:1: name: expected text, got no (YAML reads it as false); quote it: "no"'),
        ("train: {steps: yes}", "run.yaml:1: train.steps: expected a whole number, got yes (YAML reads it as true)"),
        ("train: {lr: true}", "run.yaml:1: train.lr: expected a number, got true"),
        ("train: {lr: .inf}", "run.yaml:1: train.lr: .inf is not a finite number"),
        ("train: {lr: .nan}", "run.yaml:1: train.lr: .nan is not a finite number"),
        ("train: {lr: -1}", "run.yaml:1: train.lr: expected a number above 0.0, got -1"),
        ("train: {steps: 0}", "run.yaml:1: train.steps: expected a number of at least 1, got 0"),
        ("train: {steps: 1.5}", "run.yaml:1: train.steps: expected a whole number, got 1.5"),
        ("train: 3", "run.yaml:1: train: expected a mapping (key: value), got 3"),
        ("seed: 089", 'run.yaml:1: seed: 089 starts with 0: it is no number; write 89, or "089" as text'),
        ("a: 1\nname: x\nname: y", "run.yaml:3: name: the key is there twice (first: run.yaml:2); keep one of them"),
        ("no: 3", 'run.yaml:1: no: this key is read as the truth value false; quote it: "no"'),
        ("seed: !!python/object:os.system x", "seed: the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("name: !!binary aGk=", "run.yaml:1: name: the tag tag:yaml.org,2002:binary is not allowed"),
        ("seed: !!bool maybe", "run.yaml:1: seed: 'maybe' cannot be read"),
        ("seed: !!int ''", "run.yaml:1: seed: '' cannot be read"),
        ('name: "\\ud800"', "run.yaml:1: name: '\\ud800' cannot be read"),
        ("name: [" + "[" * 250 + "]" * 250 + "]", "run.yaml:1"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{name}: &{name} [{','.join([f'*{old}'] * 9)}]" for old, name in zip("abcdef", "bcdefg", strict=True)
            ),
            "more than 100000 values",
        ),
        ("name: [" + "x," * 200 + "]", '"x",…'),
        ("name: &a [*a]", "run.yaml:1: name.0: an alias stands inside its own anchor; write it out"),
        ("- 1", "run.yaml:1: expected keys and values (key: value), got [1]"),
        ("a: [", "run.yaml:1: this is not valid YAML"),
        ("\tname: x", "run.yaml:1: this is not valid YAML"),
        ("name: x\n---\nname: y", "run.yaml:2: this is not valid YAML (but found another document)"),
        ("[" * 3000, "run.yaml: the YAML is nested too deeply"),
        ("encoder: crn", "run.yaml:1: encoder.name: there is no 'crn'; did you mean 'crnn'?"),
        ("encoder: {preset: small}", "run.yaml:1: encoder.name: this key is needed"),
        (
            "data: {synthetic: {hnds: 3}}",
            "data.synthetic.hnds: there is no such key; did you mean data.synthetic.hands?",
        ),
        ("data: {synthetic: {characters: [1, 2, 3]}}", "data.synthetic.characters"),
    ],
)
def test_mistakes(tmp_path, text, wanted):
    found = mistakes(tmp_path, text)
    assert any(wanted in line for line in found), found


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("seeds=5", "seeds: expected a mapping (key: value) or a list, got 5"),
        ("seeds={0.05: [x]}", "seeds.0.05.0: expected a whole number, got x"),
        ("rows={a: [{train: {step: 3}}]}", "there is no such key; did you mean rows.a.0.train.steps?"),
        ("rows={a: [{method: {name: simlcr}}]}", "rows.a.0.method.name: there is no 'simlcr'; did you mean 'simclr'?"),
        ("rows={a: [{method: {name: simclr, temprature: 1}}]}", "rows.a.0.method.temprature: there is no such key"),
        ("rows.a.0.train.lr=3", "rows.a.0.train.lr"),
        ("data.=3", "expected key=value"),
        ("name.first=x", "expected"),
        ("name=[", "name: this is not valid YAML"),
    ],
)
def test_mistakes_in_overrides(override, wanted):
    with pytest.raises(UserError) as caught:
        load_config(None, [override], TableConfig)
    line = str(caught.value)
    assert line.startswith(f"override {override!r}: "), line
    assert wanted in line


def test_position_beyond_a_list(tmp_path):
    text = "rows: {a: [{train: {steps: 3}}]}"
    assert load(tmp_path, text, "rows.a.0.train.steps=4", model=TableConfig).rows["a"][0].train.steps == 4
    assert (
        "rows.a is a list of 1; give a position from 0 to 0"
        in mistakes(tmp_path, text, "rows.a.1.train.steps=4", model=TableConfig)[0]
    )


def test_files_that_are_no_configuration(tmp_path):
    (tmp_path / "run.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"there is no such file; did you mean .*run\.yaml"):
        load_config(tmp_path / "rum.yaml", [], FinetuneConfig)
    with pytest.raises(UserError, match="this is a folder"):
        load_config(tmp_path, [], FinetuneConfig)
    (tmp_path / "run.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(UserError, match="byte 9 is not UTF-8"):
        load_config(tmp_path / "run.yaml", [], FinetuneConfig)
    with pytest.raises(UserError, match="the file is empty"):
        load(tmp_path, "# nothing\n")


def test_byte_order_mark_is_no_mistake(tmp_path):
    assert load(tmp_path, "\ufeffname: x").name == "x"


def test_options_of_plugins_are_complete():
    config = load_config(None, ["encoder=crnn", "data.synthetic.hands=3"], FinetuneConfig)
    assert config.encoder.options() == {"preset": "small", "dropout": 0.1}
    assert config.data.synthetic["hands"] == 3
    assert config.data.synthetic["samples"] == 2000
    assert load_config(None, ["data.source=scans"], FinetuneConfig).data.synthetic == {}


def test_another_method_does_not_keep_options(tmp_path):
    text = "method: {name: simclr, temperature: 0.3}"
    assert load(tmp_path, text, model=PretrainConfig).method.options()["temperature"] == 0.3
    assert (
        "method.temperature: there is no such key"
        in mistakes(tmp_path, text, "method.name=masked_image", model=PretrainConfig)[0]
    )
    assert load(tmp_path, text, "method=masked_image", model=PretrainConfig).method.name == "masked_image"


@pytest.mark.parametrize("text", ["method: {name: simclr, temperature: 0.3}", "method: simclr", "seed: 1"])
def test_a_plugin_named_by_an_override_takes_options(tmp_path, text):
    method = load(tmp_path, text, "method=jigsaw", "method.form=permutation", model=PretrainConfig).method
    assert (method.name, method.options()["form"]) == ("jigsaw", "permutation")
    rows = ("rows={a: [{method: simclr}]}", "rows.a.0.method=jigsaw", "rows.a.0.method.augment.slant=0.1")
    method = load_config(None, rows, TableConfig).rows["a"][0].method
    assert method is not None
    assert (method.name, method.options()["augment"]["slant"]) == ("jigsaw", 0.1)
    encoder = load_config(None, ["encoder=crnn", "encoder.dropout=0.5"], PretrainConfig).encoder
    assert encoder.options()["dropout"] == 0.5


def test_mistakes_behind_a_plugin_named_by_an_override(tmp_path):
    [line] = mistakes(tmp_path, "method: simclr", "method.temprature=1", model=PretrainConfig)
    assert line == (
        "override 'method.temprature=1': method.temprature: there is no such key; did you mean method.temperature?"
    )
    [line] = mistakes(tmp_path, "seed: 1", "method=jigsw", "method.form=position", model=PretrainConfig)
    assert line == "override 'method=jigsw': method.name: there is no 'jigsw'; did you mean 'jigsaw'?"


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_accepted_again(tmp_path, kind):
    text = dump_config(kind())
    config = load(tmp_path, text, model=kind)
    assert dump_config(config) == text
    assert config == load_config(None, [], kind)


words = st.one_of(
    st.sampled_from(["no", "010", "1e-3", "on", "null", "~", "12:30", "2024-01-01", "0x1F", "-", "a: b", "# c", ".5"]),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=words,
    source=words,
    rows=st.dictionaries(words, st.lists(st.integers(1, 10**6), max_size=2), max_size=3),
    lr=st.floats(1e-300, 1e300),
    share=st.floats(0, 1, exclude_max=True),
    seeds=st.one_of(st.lists(st.integers(0, 2**63)), st.dictionaries(st.floats(0.01, 1), st.lists(st.integers(0, 9)))),
)
@example(name="a", source="a\x85b", rows={"x\u2028y": [1]}, lr=1.0, share=0.0, seeds=[0])
def test_dump_and_load_are_inverse(tmp_path, name, source, rows, lr, share, seeds):
    config = TableConfig.model_validate(
        {
            "name": name,
            "data": {"source": source},
            "rows": {row: [{"train": {"steps": steps}} for steps in stages] for row, stages in rows.items()},
            "train": {"lr": lr, "ema": share},
            "seeds": seeds,
        }
    )
    text = dump_config(config)
    loaded = load(tmp_path, text, model=TableConfig)
    assert dump_config(loaded) == text
    assert (loaded.name, loaded.data.source, loaded.rows, loaded.seeds) == (name, source, config.rows, config.seeds)
    assert (loaded.train.lr, loaded.train.ema) == (lr, share)


def test_kind_is_guessed_from_the_keys(tmp_path):
    path = tmp_path / "a.yaml"
    for text, kind in (("rows: {}", TableConfig), ("method: simclr", PretrainConfig), ("seed: 1", FinetuneConfig)):
        path.write_text(text)
        assert kind_of(path) is kind
    assert kind_of(path, ["method.name=simclr"]) is PretrainConfig


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind):
    rows = describe(kind)
    keys = [row.key for row in rows]
    assert len(set(keys)) == len(keys)
    assert [row.key for row in rows if not row.meaning.strip()] == []
    assert {"data.height", "encoder.name", "encoder.preset", "train.lr", "data.synthetic.hands"} <= set(keys)


def test_description_shows_values_and_choices():
    config = load_config(None, ["data.level=word", "rows={a: [{train: {steps: 7}}], b: []}"], TableConfig)
    rows = {row.key: row for row in describe(config)}
    assert rows["data.level"].value == "word"
    assert rows["data.level"].meaning.endswith("[word | line]")
    assert rows["rows.a.0.train.steps"].value == "7"
    assert rows["rows.b"].value == "[]"


def test_configurations_are_found():
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configurations_are_named_experiments(path, tmp_path):
    """They can be loaded, and each differs from the recipe in more than its name and data."""
    kind = kind_of(path)
    config = load_config(path, [], kind)
    assert config.name == path.stem
    if isinstance(config, TableConfig):
        check(config)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    recipe = load_config(None, [], kind)
    differences = [key for key in kind.model_fields if getattr(config, key) != getattr(recipe, key)]
    assert set(differences) - {"name", "data"}


@pytest.mark.parametrize("path", [None, *CONFIGS], ids=str)
def test_commented_configurations_are_complete(path, tmp_path):
    for kind in KINDS if path is None else [kind_of(path)]:
        config = load_config(path, [], kind)
        text = commented(config)
        assert load(tmp_path, text, model=kind) == config
        rows = describe(config)
        assert text.count("# ") >= len(rows)
        assert all(row.meaning.split()[0] in text for row in rows)


@pytest.mark.parametrize("text", ["a: b", "# c", " x", "no", "1e3", "é, [x]", "two\nlines", "'"])
def test_commented_values_are_the_same(tmp_path, text):
    values = {"name": text, "rows": {text: [{"synthetic": {"text": text}}], "b": []}, "seeds": {0.05: [1], 1.0: []}}
    config = load_config(None, [], TableConfig).model_copy(update={"name": text})
    assert load(tmp_path, commented(config), model=TableConfig).name == text
    config = TableConfig.model_validate(values)
    loaded = load(tmp_path, commented(config), model=TableConfig)
    assert yaml.safe_load(dump_config(loaded)) == yaml.safe_load(dump_config(config))


def test_the_recipe_depends_on_the_kind_of_training(tmp_path):
    """Also where a file or an override gives only some of a schedule's keys."""
    finetuning, pretraining = load(tmp_path, "{}"), load(tmp_path, "{}", model=PretrainConfig)
    assert (finetuning.data.height, finetuning.train.steps, finetuning.train.batch_size) == (40, 5000, 16)
    assert (pretraining.method.name, pretraining.scope, pretraining.train.batch_size) == ("simclr", "backbone", 32)
    for kind in KINDS:
        whole = load_config(None, [], kind).train
        assert load(tmp_path, "train: {steps: 7}", model=kind).train == whole.model_copy(update={"steps": 7})
        assert load_config(None, ["train.steps=7"], kind).train.lr == whole.lr
        assert kind(train={"steps": 7}).train.lr == kind().train.lr == whole.lr
    rows = "rows: {a: [{method: simclr}, {synthetic: {}, train: {steps: 5}}], b: [{method: byol, train: {lr: 3.0}}]}"
    table = load(tmp_path, rows, model=TableConfig)
    [method, synthetic], [own] = table.rows["a"], table.rows["b"]
    assert (method.train.lr, method.train.batch_size, method.train.steps) == (1e-3, 32, 3000)
    assert (synthetic.train.lr, synthetic.train.batch_size, synthetic.train.steps) == (2e-3, 16, 5)
    assert (own.train.lr, own.train.batch_size) == (3.0, 32)
    assert mistakes(tmp_path, "rows: {a: [{method: simclr, train: 5}]}", model=TableConfig) == [
        "run.yaml:1: rows.a.0.train: expected a mapping (key: value), got 5"
    ]


def test_plugins_are_found():
    assert len(PLUGINS) >= 2


@pytest.mark.parametrize(("package", "name"), PLUGINS)
def test_plugins_refuse_unknown_options_and_explain_theirs(package, name):
    model = plugins.load(package, name).Config
    assert issubclass(model, BaseModel)
    assert model.model_config.get("extra") == "forbid"
    assert [row.key for row in describe(model) if not row.meaning] == []


def test_configurations_do_not_change():
    assert issubclass(FinetuneConfig, Strict)
    config = FinetuneConfig(encoder=PluginConfig(name="crnn"))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FinetuneConfig(encoder={"name": "crnnn"}), "there is no 'crnnn'; did you mean 'crnn'"),
        (lambda: FinetuneConfig(encoder="crnnn"), "did you mean 'crnn'"),
        (lambda: FinetuneConfig(encoder={"name": "crnn", "presett": "base"}), "did you mean preset"),
        (lambda: FinetuneConfig(encoder=PluginConfig(name="crnn", preset="huge")), "'small', 'medium' or 'base'"),
        (lambda: PretrainConfig(method="simclrr"), "did you mean 'simclr'"),
        (lambda: PretrainConfig(method={"name": "combined", "parts": {"simclr": {"heat": 1}}}), "heat"),
        (lambda: Joint(method={"name": "simclr", "temperature": "hot"}), "expected a number"),
        (lambda: TableConfig(rows={"a": [{"method": "vicrg"}]}), "did you mean 'vicreg'"),
        (lambda: DataConfig(synthetic={"samplez": 3}), "did you mean samples"),
    ],
)
def test_bad_plugins_fail_at_construction(build, message):
    with pytest.raises(ValidationError, match=message):
        build()


def test_a_plugin_is_given_by_its_name_in_python_too():
    assert FinetuneConfig(encoder="crnn") == FinetuneConfig(encoder={"name": "crnn"}) == FinetuneConfig()
    assert PretrainConfig(method="simclr").method.name == "simclr"
    assert DataConfig(synthetic={"text": Path("words.txt"), "characters": (1, 4)}).synthetic["characters"] == (1, 4)
    assert DataConfig(source="lines", synthetic={"unused": 3}).source == "lines"


def test_precision_32_needs_no_quotes(tmp_path):
    assert load(tmp_path, "train: {precision: 32}").train.precision == "32"
