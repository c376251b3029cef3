import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec import languages
from neuronspec.errors import NeuronspecError
from neuronspec.languages import (
    EC30_LEVELS,
    Language,
    find_language,
    join_direction,
    list_languages,
    resource_level,
    split_direction,
)

ALL = list_languages()
LANGUAGES = st.sampled_from(ALL)


def read_transformers_codes(model: str) -> set[str]:
    """The language codes in the source of a tokenizer, which is parsed and not run."""
    specification = importlib.util.find_spec("transformers")
    if specification is None or specification.origin is None:
        pytest.skip("transformers is not installed")
    source = Path(specification.origin).parent / "models" / model / f"tokenization_{model}.py"
    if not source.exists():
        pytest.skip(f"this transformers has no {source.name}")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAIRSEQ_LANGUAGE_CODES":
            codes = ast.literal_eval(node.value)
            return set(codes["m2m100"] if isinstance(codes, dict) else codes)
    pytest.skip(f"{source.name} no longer lists its languages")


def notations(language: Language) -> set[str]:
    """The codes that name exactly this row, not only its macrolanguage."""
    return {language.code, language.nllb, language.mbart, language.m2m} - {""}


def test_every_nllb_and_flores_200_language_is_there_once() -> None:
    codes = [language.nllb for language in ALL if language.nllb]
    assert len(codes) == len(set(codes)) == 204
    assert set(codes) - {"arb_Latn", "min_Arab"} == read_transformers_codes("nllb")


def test_every_m2m_100_language_is_there_once() -> None:
    codes = [language.m2m for language in ALL if language.m2m]
    assert len(codes) == len(set(codes)) == 100
    assert set(codes) == read_transformers_codes("m2m_100")


def test_every_mbart_50_language_is_there_once() -> None:
    codes = [language.mbart for language in ALL if language.mbart]
    assert len(codes) == len(set(codes)) == 52
    assert set(codes) == read_transformers_codes("mbart50")


def test_codes_names_and_scripts_are_well_formed_and_unique() -> None:
    assert [language.code for language in ALL] == sorted({language.code for language in ALL})
    assert len({language.name for language in ALL}) == len(ALL)
    for language in ALL:
        assert re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3}|-[A-Z]{2})?", language.code)
        assert re.fullmatch(r"[a-z]{3}", language.iso3)
        assert re.fullmatch(r"[A-Z][a-z]{3}", language.script)
        assert re.fullmatch(r"[A-Z][a-z]+(-[A-Z][a-z]+)?", language.family)


def test_the_columns_of_a_row_agree_with_each_other() -> None:
    for language in ALL:
        base, _, variant = language.code.partition("-")
        assert len(base) == 2 or base == language.iso3
        assert not variant or find_language(base).iso3 == language.iso3
        assert len(variant) != 4 or variant == language.script
        assert language.nllb in ("", "sat_Beng") or language.nllb.endswith(f"_{language.script}")
        assert language.mbart[:2] in ("", base)
        assert language.m2m in ("", base) or (base, language.m2m) in {("nb", "no"), ("nso", "ns")}


def test_no_two_languages_share_a_form_even_when_case_is_ignored() -> None:
    owners: dict[str, set[str]] = {}
    for language in ALL:
        for form in notations(language) | {language.name}:
            owners.setdefault(form.lower(), set()).add(language.code)
        if "-" not in language.code:
            owners.setdefault(language.iso3, set()).add(language.code)
    assert {form: codes for form, codes in owners.items() if len(codes) > 1} == {}


@pytest.mark.parametrize(
    ("code", "name", "script", "family"),
    [
        ("kn", "Kannada", "Knda", "Dravidian"),
        ("sr", "Serbian", "Cyrl", "Slavic"),
        ("mt", "Maltese", "Latn", "Afro-Asiatic"),
        ("ti", "Tigrinya", "Ethi", "Afro-Asiatic"),
        ("sd", "Sindhi", "Arab", "Indo-Aryan"),
        ("oc", "Occitan", "Latn", "Romance"),
        ("lb", "Luxembourgish", "Latn", "Germanic"),
        ("fa", "Persian", "Arab", "Iranian"),
        ("lt", "Lithuanian", "Latn", "Baltic"),
        ("cy", "Welsh", "Latn", "Celtic"),
        ("el", "Greek", "Grek", "Hellenic"),
        ("hy", "Armenian", "Armn", "Armenian"),
        ("sq", "Albanian", "Latn", "Albanian"),
        ("hu", "Hungarian", "Latn", "Uralic"),
        ("mg", "Malagasy", "Latn", "Austronesian"),
        ("zh-Hant", "Chinese (Traditional)", "Hant", "Sino-Tibetan"),
    ],
)
def test_facts(code: str, name: str, script: str, family: str) -> None:
    language = find_language(code)
    assert (language.code, language.name, language.script, language.family) == (code, name, script, family)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        *((form, "de") for form in ("de", "deu", "deu_Latn", "de_DE", "__de__", "DE", "DEU_latn", "de_de")),
        *((form, "ar") for form in ("ara", "arb", "arb_Arab", "ara_Arab", "ar_AR")),
        *((form, "nb") for form in ("no", "__no__", "nob_Latn")),
        *((form, "zh") for form in ("zh", "zho", "zh_CN", "zho_Hans", "zh-Hans")),
        *((form, "zh-Hant") for form in ("zh-Hant", "zho_Hant", "zh-hant")),
        *((form, "sat") for form in ("sat_Beng", "sat_Olck")),
        ("arb_Latn", "ar-Latn"),
        ("min_Arab", "min-Arab"),
        ("min", "min"),
        ("ns", "nso"),
        ("pt-br", "pt-BR"),
        ("por_Latn", "pt"),
    ],
)
def test_find_language_understands_every_notation(form: str, code: str) -> None:
    assert find_language(form).code == code


@given(LANGUAGES, st.sampled_from([str, str.lower, str.upper]))
def test_every_form_finds_its_own_row_in_any_case(language: Language, recase: Callable[[str], str]) -> None:
    for form in notations(language):
        assert find_language(recase(form)) is language


@pytest.mark.parametrize(
    ("given_code", "suggestion"),
    [
        ("german", "(did you mean 'de' for German?)"),
        ("Chinese", "(did you mean 'zh' for Chinese?)"),
        ("norwegian", "'nb' for Norwegian Bokmål"),
        ("deu_Lat", "'de' for German"),
        ("eng-Latn", "'en' for English"),
    ],
)
def test_an_unknown_language_is_refused_with_the_nearest(given_code: str, suggestion: str) -> None:
    with pytest.raises(NeuronspecError) as refused:
        find_language(given_code)
    assert repr(given_code) in str(refused.value)
    assert suggestion in str(refused.value)


@pytest.mark.parametrize("nonsense", ["", "qqq", "xx", "-", "__"])
def test_nonsense_gets_no_suggestion(nonsense: str) -> None:
    with pytest.raises(NeuronspecError, match="unknown language") as refused:
        find_language(nonsense)
    assert "did you mean" not in str(refused.value)


def test_lineages_put_branches_under_indo_european_and_leave_the_unrelated_without() -> None:
    tops = {language.family: language.lineage for language in ALL}
    indo_european = {family for family, lineage in tops.items() if lineage[:1] == ("Indo-European",)}
    assert indo_european == {
        *("Albanian", "Armenian", "Baltic", "Celtic", "Germanic"),
        *("Hellenic", "Indo-Aryan", "Iranian", "Romance", "Slavic"),
    }
    assert {family for family, lineage in tops.items() if not lineage} == {"Isolate", "Constructed", "Creole"}
    assert all(lineage[-1] == family for family, lineage in tops.items() if lineage)
    assert find_language("hy").lineage == ("Indo-European", "Armenian")
    assert find_language("fi").lineage == find_language("hu").lineage == ("Uralic",)


def test_ec30_has_ten_languages_a_level_none_of_them_english() -> None:
    codes = [code for level in EC30_LEVELS.values() for code in level]
    assert [len(level) for level in EC30_LEVELS.values()] == [10, 10, 10]
    assert len(set(codes)) == 30
    assert "en" not in codes
    assert all(find_language(code).code == code for code in codes)


@pytest.mark.parametrize(
    ("code", "level"),
    [("he", "high"), ("ha", "medium"), ("am", "low"), ("heb_Hebr", "high"), ("en", None), ("zh-Hant", None)],
)
def test_resource_level(code: str, level: str | None) -> None:
    assert resource_level(code) == level


def test_resource_level_refuses_an_unknown_language() -> None:
    with pytest.raises(NeuronspecError, match="'german'"):
        resource_level("german")


@given(LANGUAGES, LANGUAGES, st.data())
def test_split_undoes_join_for_every_pair_of_forms(source: Language, target: Language, data: st.DataObject) -> None:
    left, right = (data.draw(st.sampled_from(sorted(notations(side)))) for side in (source, target))
    assert split_direction(join_direction(left, right)) == (left, right)


def test_split_undoes_join_wherever_a_code_has_a_hyphen() -> None:
    variants = [language.code for language in ALL if "-" in language.code] + ["zh-Hans"]
    for variant in variants:
        for other in [language.code for language in ALL] + variants:
            assert split_direction(f"{variant}-{other}") == (variant, other)
            assert split_direction(f"{other}-{variant}") == (other, variant)


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("de-en", ("de", "en")),
        ("zh-Hant-en", ("zh-Hant", "en")),
        ("en-zh-Hant", ("en", "zh-Hant")),
        ("pt-BR-zh-Hant", ("pt-BR", "zh-Hant")),
        ("pt-br", ("pt", "br")),  # Portuguese to Breton
        ("deu_Latn-en_XX", ("deu_Latn", "en_XX")),
    ],
)
def test_split_direction(task: str, parts: tuple[str, str]) -> None:
    assert split_direction(task) == parts


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("de-xx", "unknown direction 'de-xx'; expected"),
        ("de_en", "unknown direction 'de_en'; expected"),
        ("", "unknown direction ''; expected"),
        ("de", "'de' is one language, German"),
        ("pt-BR", "'pt-BR' is one language, Brazilian Portuguese"),
        ("DE-EN", "'DE-EN' (did you mean 'de-en'?)"),
        ("german-en", "'german-en' (did you mean 'de-en'?)"),
        ("en-zh-hant", "'en-zh-hant' (did you mean 'en-zh-Hant'?)"),
        ("zh-hant-en", "'zh-hant-en' (did you mean 'zh-Hant-en'?)"),
    ],
)
def test_a_direction_that_cannot_be_read_is_refused_with_the_reason(task: str, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=re.escape(reason)):
        split_direction(task)


def test_a_direction_with_two_readings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict.fromkeys(["pt", "pt-br", "br", "br-en", "en"], find_language("pt"))
    monkeypatch.setattr(languages, "_forms", lambda: known)
    with pytest.raises(NeuronspecError, match="'pt-br-en' is ambiguous: 'pt' to 'br-en' or 'pt-br' to 'en'"):
        split_direction("pt-br-en")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [("de", "xx", "de-xx"), ("zh", "Hant-en", "reads as 'zh-Hant' to 'en'"), ("pt", "BR", "one language")],
)
def test_join_direction_refuses_what_would_not_read_back(source: str, target: str, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        join_direction(source, target)


def test_importing_reads_no_table_and_no_heavy_library() -> None:
    script = (
        "import sys, neuronspec.languages as languages\n"
        "assert languages.list_languages.cache_info().currsize == 0, 'the table was read'\n"
        "languages.find_language('de')\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'matplotlib', 'sacrebleu'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
