from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronspec
from neuronspec.config.loading import find_config, load_config
from neuronspec.config.schema import Config
from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.models.presets import PRESETS

RECIPES = sorted((Path(neuronspec.__file__).parent / "recipes").glob("*.yaml"))
SMALLEST: dict[str, Any] = {
    "languages": ["de", "sv"],
    "data": {"train": [{"path": "{lang}.tsv"}], "hold_out": {"valid": 0.1, "test": 0.1}},
    "model": {"preset": "tiny"},
}


def write(folder: Path, values: dict[str, Any] | str) -> Path:
    path = folder / "config.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def complain(folder: Path, values: dict[str, Any] | str, *overrides: str) -> str:
    """Load a broken configuration and return what is said about it."""
    with pytest.raises(NeuronspecError) as caught:
        load_config(write(folder, values), overrides, method_options())
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, SMALLEST)


def test_the_smallest_configuration_has_the_papers_values(path: Path) -> None:
    config = load_config(path)
    assert config.directions() == ["en-de", "en-sv", "de-en", "sv-en"]
    assert (config.select.k, config.record.unit) == (0.95, "sentence")
    assert (config.translate.beams, config.train.adam_betas) == (5, (0.9, 0.98))


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    broken = SMALLEST | {
        "sed": 3,
        "pivot": "e/n",
        "languages": ["ger man", "", "sv"],
        "train": {"updates": -1, "learning_rate": 0, "schedule": "cosine"},
        "select": {"k": 95},
        "prepare": {"vocabulary": {"size": "many"}},
        "score": {"metrics": ["blue"]},
        "methods": {"fine_tuned": {}, "neuron_specialization": {"stack": "encoder"}},
    }
    message = complain(tmp_path, broken)
    assert message.splitlines()[0] == f"{tmp_path / 'config.yaml'} does not fit:"
    problems = message.splitlines()[1:]
    for part in (
        "unknown key sed (did you mean 'seed'?)",
        "pivot: 'e/n' cannot be a language code",
        "languages.0: 'ger man' cannot be a language code",
        "languages.1: '' cannot be a language code",
        "train.updates: input should be greater than or equal to 0, not -1",
        "train.learning_rate: input should be greater than 0, not 0",
        "train.schedule: input should be 'inverse_sqrt' or 'constant', not 'cosine'",
        "select.k: must be a share from 0 to 1, or auto, not 95",
        "prepare.vocabulary.size: input should be a valid integer",
        "score.metrics.0: unknown metric 'blue' (did you mean 'bleu' or 'spbleu'?); known: bleu, chrf, ter, ",
        "unknown method 'fine_tuned' (did you mean 'fine_tune'?)",
        "unknown key methods.neuron_specialization.stack (did you mean 'stacks'?)",
    ):
        assert sum(part in problem for problem in problems) == 1, part
    assert len(problems) == 12


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("sede", "seed"),
        ("trainig", "train"),
        ("data.trian", "train"),
        ("data.hold_out.valdi", "valid"),
        ("model.pre_set", "preset"),
        ("sampling.temprature", "temperature"),
        ("continued.update", "updates"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path, key: str, nearest: str) -> None:
    message = complain(tmp_path, SMALLEST, f"{key}=3")
    assert f"unknown key {key} (did you mean '{nearest}'" in message
    assert "known here: " in message


def test_an_unknown_key_within_a_list_is_refused(tmp_path: Path) -> None:
    message = complain(tmp_path, SMALLEST, "data.train=[{pth: x.tsv, fromat: tsv}]")
    assert "unknown key data.train.0.pth (did you mean 'path'?); known here: path, format" in message
    assert "unknown key data.train.0.fromat (did you mean 'format'?)" in message
    assert "data.train.0.path is missing" in message


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["languages=[de fr]"], "'de fr' cannot be a language code; expected letters and digits"),
        (["languages=[de, de]"], "de given more than once"),
        (["languages=[de, deu]"], "de and deu are the same language: keep one of them"),
        (["languages=[zh_CN, cmn_Hans]"], "zh_CN and cmn_Hans are the same language"),
        (["languages=[de, eng_Latn]"], "'eng_Latn' is the pivot"),
        (["languages=[de, en]"], "'en' is the pivot"),
        (["languages=[]"], "exactly one of languages and tasks"),
        (["tasks=[de-en]"], "exactly one of languages and tasks"),
        (["languages=[]", "tasks=[de-en, deu-fr]"], "de and deu are the same language"),
        (["languages=[]", "tasks=[de_en]"], "'de_en' is no direction (did you mean 'de-en'?)"),
        (["languages=[]", "tasks=[de-en, de-en]"], "de-en given more than once"),
        (["model.pretrained=some/model"], "exactly one of model.preset and model.pretrained"),
        (["model.preset=null"], "exactly one of model.preset and model.pretrained"),
        (["data.hold_out.valid=0"], "exactly one of data.valid and data.hold_out.valid"),
        (["data.test=[{path: t.tsv}]"], "exactly one of data.test and data.hold_out.test"),
        (["data.train=[]"], "data.train: List should have at least 1 item"),
        (["prepare.drop_matching='['"], "prepare.drop_matching: not a regular expression"),
        (["methods=[fine_tune]"], "methods: Input should be a valid dictionary"),
        (["methods={fine_tune: 3}"], "methods.fine_tune: input should be a valid dictionary"),
        (["methods={neuron_specialization: {stacks: decodr}}"], "'both', 'encoder' or 'decoder', not 'decodr'"),
        (["train.learning_rate=.nan"], "train.learning_rate: input should be "),
        (["analyze.resamples=18"], "must be 0, or 19 or more: with fewer no p-value could be 0.05"),
        (["score.metrics=[]"], "score.metrics: List should have at least 1 item"),
        (["model=tiny"], "model: input should be a valid dictionary"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, overrides: list[str], found: str) -> None:
    assert found in complain(tmp_path, SMALLEST, *overrides)


def test_19_resamples_give_the_p_value_of_the_usual_level(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SMALLEST), ["analyze.resamples=19"], method_options())
    assert config.analyze.resamples == 19


@pytest.mark.parametrize("section", ["data", "model"])
def test_a_section_without_default_must_be_there(tmp_path: Path, section: str) -> None:
    without = {key: value for key, value in SMALLEST.items() if key != section}
    assert f"{section} is missing" in complain(tmp_path, without)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("seed: 1\nname: x\nseed: 2\n", "the key 'seed' is given twice"),
        ("training:\n  updates: 1\n  updates: 2\n", "the key 'updates' is given twice"),
        ("data: [1", "is not valid YAML"),
        ("- 1\n", "holds no configuration: expected 'key: value' lines"),
        ("", "holds no configuration"),
        ("name: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("1: 2\n", "1: keys should be strings"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, found: str) -> None:
    assert found in complain(tmp_path, text)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes("name: München\n".encode("latin-1"))
    with pytest.raises(NeuronspecError, match=r"config\.yaml is not valid YAML"):
        load_config(tmp_path / "config.yaml")


def test_a_missing_file_names_the_recipes() -> None:
    with pytest.raises(NeuronspecError, match=r"no configuration 'demmo' \(did you mean 'demo'\?\)"):
        load_config("demmo")


def test_overrides_are_typed_nested_and_the_last_one_wins(path: Path) -> None:
    config = load_config(
        path,
        [
            "train.updates=7",
            "train.patience=null",
            "sampling.homogeneous=true",
            "train.adam_betas=[0.5, 0.9]",
            "name=a b=c",
            "continued.learning_rate=1e-3",
            "methods={neuron_specialization: {stacks: encoder}}",
            "train.updates=8",
        ],
    )
    assert (config.train.updates, config.train.patience) == (8, None)
    assert config.sampling.homogeneous is True
    assert config.train.adam_betas == (0.5, 0.9)
    assert config.name == "a b=c"
    assert config.continued.learning_rate == 1e-3
    assert config.methods == {"neuron_specialization": {"stacks": "encoder"}}


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("training", "expected key=value, as in train.updates=500"),
        ("=3", "expected key=value"),
        ("train.updates=[1", "cannot read the value of the override 'train.updates=[1'"),
        ("languages.first=de", "'languages' is not a section"),
        ("train.updates=many", "train.updates: input should be a valid integer"),
        ("train.updates=1.5", "train.updates: input should be a valid integer"),
    ],
)
def test_a_bad_override_is_quoted(tmp_path: Path, override: str, found: str) -> None:
    assert found in complain(tmp_path, SMALLEST, override)


def test_a_pretrained_model_is_taken_as_it_is_unless_its_training_is_given(path: Path) -> None:
    pretrained = ["model={pretrained: some/model}"]
    assert load_config(path, pretrained).train.updates == 0
    assert load_config(path, [*pretrained, "train.updates=5"]).train.updates == 5
    assert load_config(path).train.updates > 0


def test_a_language_is_spelled_as_the_user_wrote_it(path: Path) -> None:
    config = load_config(path, ["pivot=eng_Latn", "languages=[deu, sv_SE]"])
    assert config.directions() == ["eng_Latn-deu", "eng_Latn-sv_SE", "deu-eng_Latn", "sv_SE-eng_Latn"]


def test_the_pivot_and_the_unseen_directions_are_spelled_as_what_is_trained(path: Path) -> None:
    tasks = "tasks=[eng_Latn-deu_Latn, deu_Latn-eng_Latn, eng_Latn-zho_Hant, zho_Hant-eng_Latn]"
    config = load_config(path, ["pivot=en", "languages=[]", tasks, "zero_shot=[de-zh_TW]"])
    assert config.pivot == "eng_Latn"
    assert config.zero_shot_directions() == ["deu_Latn-zho_Hant"]
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_language_that_nobody_knows_is_used_and_a_mistyped_one_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    languages = "languages=[hsb, gsw-bern, x-foo, ton_Latn]"
    assert load_config(path, [languages]).directions()[:2] == ["en-hsb", "en-gsw-bern"]
    assert not caplog.records
    assert load_config(path, ["languages=[german]"]).directions() == ["en-german", "german-en"]
    assert [record.getMessage() for record in caplog.records] == [
        "nobody else knows the language code 'german' (did you mean 'de' for German?); it is used as it is written"
    ]


def test_corpus_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    train = "data.train=[{path: 'a/{lang}.tsv'}, {path: /b.tsv}, {path: '~/c.tsv'}, {path: 'hub:d'}]"
    paths = [corpus.path for corpus in load_config(path, [train]).data.train]
    assert paths == [str(tmp_path / "a/{lang}.tsv"), "/b.tsv", str(tmp_path / "home/c.tsv"), "hub:d"]
    assert load_config(Path("..") / path.name).data.train[0].path == f"{elsewhere}/../{{lang}}.tsv"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_shipped_recipe_fits_and_is_found_by_its_name(recipe: Path) -> None:
    config = load_config(recipe.stem, method_options=method_options())
    assert config.directions()
    assert find_config(recipe.stem) == find_config(recipe.name) == recipe


def test_a_file_of_ones_own_goes_before_a_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("x: 1", encoding="utf-8")
    assert find_config("demo") == Path("demo")
    with pytest.raises(NeuronspecError):
        find_config("folder/demo")


def test_a_configuration_never_changes(path: Path) -> None:
    config = load_config(path)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 2  # type: ignore[misc]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**40),
    k=st.floats(0, 1),
    beams=st.integers(1, 50),
    penalty=st.floats(-10, 10),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    languages=st.lists(st.sampled_from(["de", "zh-Hant", "pt-BR", "no", "sv"]), unique=True, min_size=1),
)
def test_the_resolved_yaml_loads_as_the_same_configuration(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    k: float,
    beams: int,
    penalty: float,
    name: str,
    languages: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("round")
    values = SMALLEST | {
        "seed": seed,
        "name": name,
        "languages": languages,
        "select": {"k": k},
        "translate": {"beams": beams, "length_penalty": penalty},
        "methods": {"fine_tune": {}},
    }
    first = load_config(write(folder, values))
    assert first.translate == Translation(beams=beams, length_penalty=penalty)
    resolved = yaml.safe_dump(first.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    assert load_config(write(folder / "..", resolved)) == first


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_resolved_recipe_loads_as_the_same_configuration(tmp_path: Path, recipe: Path) -> None:
    config: Config = load_config(recipe)
    assert load_config(write(tmp_path, config.model_dump(mode="json"))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_named_in_a_configuration(tmp_path: Path, name: str) -> None:
    values = {**SMALLEST, "model": {"preset": name}}
    assert load_config(write(tmp_path, values), (), method_options()).model.preset == name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("languages=[de, no]", 'write "no" in quotes'),
        ("train.adam_betas=[2, 3]", "adam_betas.0"),
        ("data.train=[{path: 'x.{lagn}.tsv'}]", "unknown placeholder {lagn}"),
        ("data.train=[{path: x, format: tvs}]", "format"),
        ("data.train=[{path: x, columns: [2]}]", "expected two columns: numbers from 1 on, as in 2,3"),
        ("data.train=[{path: x, columns: [0, 1]}]", "expected two columns"),
        ("data.train=[{path: x, columns: [2, '2']}]", "expected two columns"),
        ("data.train=[{path: x, columns: [en, '']}]", "expected two columns"),
        ("data.train=[{path: x, columns: [en, no]}]", "columns.1"),
        ("data.train=[{path: x, columns: [1, 2.5]}]", "columns.1"),
        ("data.train=[{path: x, columns: 2}]", "columns"),
        ("data.train=[{path: x, columns: [2, 3], format: jsonl}]", "columns are for tables of TABs (format: tsv)"),
        ("seed=99999999999999999999999", "seed"),
    ],
)
def test_what_would_fail_late_is_refused_at_once(tmp_path: Path, change: str, said: str) -> None:
    assert said in complain(tmp_path, SMALLEST, change)


def test_tasks_write_a_language_in_one_way(tmp_path: Path) -> None:
    values = {**SMALLEST, "tasks": ["en-deu", "deu-en"]}
    del values["languages"]
    assert load_config(write(tmp_path, values)).directions() == ["en-deu", "deu-en"]
    assert "en and eng are the same language" in complain(tmp_path, values | {"tasks": ["en-deu", "deu-eng"]})


def test_a_method_may_stand_under_other_names(tmp_path: Path) -> None:
    methods = {
        "ours_enc": {"method": "neuron_specialization", "stacks": "encoder"},
        "ours_dec": {"method": "neuron_specialization", "stacks": "decoder"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SMALLEST | {"methods": methods}))
    assert load_config(tmp_path / "config.yaml", (), method_options()).methods == methods
    for wrong, found in (
        ({"a/b": {"method": "fine_tune"}}, "'a/b' cannot name a system"),
        ({"pretrained": {"method": "fine_tune"}}, "'pretrained' cannot name a system"),
        ({"ours": {"method": "fine"}}, "unknown method 'fine'"),
        ({"ours": {"method": "neuron_specialization", "stack": "encoder"}}, "methods.ours.stack"),
    ):
        assert found in complain(tmp_path, SMALLEST | {"methods": wrong})


def test_a_sweep_trains_each_of_some_methods_with_each_seed(tmp_path: Path) -> None:
    ours = {"method": "neuron_specialization", "stacks": "encoder"}
    methods = {"fine_tune": None, "ours": ours, "random_neurons": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SMALLEST | {"methods": methods}))
    config = load_config(tmp_path / "config.yaml", ["method=[ours, fine_tune]", "seed=[4, 5, 4]"], method_options())
    assert config.seed == 4
    assert config.methods == {
        "ours": ours,
        "ours.seed5": ours | {"seed": 5},
        "fine_tune": {},
        "fine_tune.seed5": {"method": "fine_tune", "seed": 5},
    }
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(tmp_path / "again.yaml", (), method_options()).methods == config.methods
    one = load_config(tmp_path / "config.yaml", ["method=fine_tune", "seed=7"], method_options())
    assert (list(one.methods), one.seed) == (["fine_tune"], 7)
    for override, found in (("method=[fine]", "unknown method 'fine'"), ("seed=[1, x]", "seed"), ("seed=[-1]", "seed")):
        with pytest.raises(NeuronspecError, match=found):
            load_config(tmp_path / "config.yaml", [override], method_options())
