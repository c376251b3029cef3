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

from neuronspec.errors import NeuronspecError
from neuronspec.languages import (
    EC30_LEVELS,
    Language,
    check_code,
    expect_language,
    find_language,
    is_english,
    is_known,
    join_direction,
    list_languages,
    match_direction,
    match_language,
    resource_level,
    same_language,
    split_direction,
    suggest_language,
)
from neuronspec.languages.meaning import read_code

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
        ("kannda", "'kn' for Kannada"),
        ("deu_Lat", "'de' for German"),
        ("eng-Latin", "'en' for English"),
        ("jp", "'ja' for Japanese"),
        ("CZ", "'cs' for Czech"),
    ],
)
def test_a_mistyped_language_is_used_as_written_with_the_nearest_as_a_hint(given_code: str, suggestion: str) -> None:
    assert find_language(given_code).code == given_code
    assert suggestion in suggest_language(given_code)
    with pytest.raises(NeuronspecError) as refused:
        expect_language(given_code)
    assert repr(given_code) in str(refused.value)
    assert suggestion in str(refused.value)


@pytest.mark.parametrize("code", ["qqq", "xx", "zz", "x-foo", "hsb", "srp-Latn", "ton_Latn", "gsw-bern", "eng-Latn"])
def test_what_is_near_nothing_gets_no_suggestion(code: str) -> None:
    assert suggest_language(code) == ""
    assert expect_language(code) == find_language(code)


def test_a_direction_is_no_language() -> None:
    with pytest.raises(NeuronspecError, match="unknown language 'de-en'"):
        expect_language("de-en")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "de ",
            "d e",
            "de\n",
            "de\tfr",
            "../de",
            "de/fr",
            "de\\fr",
            "a\x00b",
            "\x1b[31mde",
            "\u200bde",
            "\u202ede",
        ),
        *("-", "__", "-de", "de-", ".de", "..", "{lang}", "de*", "de=fr", "de,fr", "de:fr", "a" * 65),
    ],
)
def test_what_would_take_a_file_name_or_a_list_apart_is_no_code(text: str) -> None:
    for use in (find_language, is_known, is_english, check_code, suggest_language, resource_level):
        with pytest.raises(NeuronspecError, match="cannot be a language code"):
            use(text)
    with pytest.raises(NeuronspecError, match="cannot be a language code"):
        same_language("de", text)
    with pytest.raises(NeuronspecError, match="cannot be a language code"):
        match_language(text, ["de"])
    assert match_language("de", [text]) is None


@pytest.mark.parametrize(
    ("code", "iso3", "script"),
    [
        ("hsb", "hsb", "unknown"),
        ("hsb_Latn", "hsb", "Latn"),
        ("ton_Latn", "ton", "Latn"),
        ("gsw-bern", "gsw", "unknown"),
        ("x-foo", "x-foo", "unknown"),
        ("xyz_Cyrl", "xyz", "Cyrl"),
        ("my.own+code@2", "my.own+code@2", "unknown"),
        ("ГОРОД", "город", "unknown"),
    ],
)
def test_a_language_that_the_table_lacks_has_no_facts(code: str, iso3: str, script: str) -> None:
    language = find_language(code)
    assert language == Language(code, code, language.iso3, script, "unknown")
    assert language.lineage == ()
    assert resource_level(code) is None


@pytest.mark.parametrize(
    ("code", "name", "iso3", "script", "family"),
    [
        ("sr-Latn", "Serbian (Latn)", "srp", "Latn", "Slavic"),
        ("fr-CA", "French (CA)", "fra", "Latn", "Romance"),
        ("en-GB", "English (GB)", "eng", "Latn", "Germanic"),
        ("zh-Hant-HK", "Chinese (Traditional) (HK)", "zho", "Hant", "Sino-Tibetan"),
        ("uz-Arab", "Uzbek (Arab)", "uzb", "Arab", "Turkic"),
        ("ca-valencia", "Catalan (valencia)", "cat", "Latn", "Romance"),
        ("fuc", "Fulah (fuc)", "fuc", "Latn", "Niger-Congo"),
    ],
)
def test_a_variety_keeps_the_family_of_its_language(code: str, name: str, iso3: str, script: str, family: str) -> None:
    language = find_language(code)
    assert language == Language(code, name, iso3, script, family)


# Spellings of one written language; every one of them is another language than every one of another line.
SPELLINGS = [
    "de deu ger deu_Latn de_DE __de__ DE deu-Latn de-Latn-DE de_DE.UTF-8",
    "en eng eng_Latn en_XX en_US eng-US en-Latn",
    "en-GB eng-GB en_gb eng_Latn_GB",
    "he iw heb heb_Hebr he_IL",
    "id in ind ind_Latn",
    "yi ji ydd yid ydd_Hebr",
    "ro mo ron rum ron_Latn",
    "fa pes fas per pes_Arab fa_IR",
    "prs prs_Arab fa_AF",
    "zh cmn zho chi zh_CN zh-Hans cmn_Hans zho_Hans zho-CN ZH zh-cmn zh_Hans_CN",
    "zh-Hant zh_TW zho_Hant cmn_Hant zho-TW zh_hant",
    "yue zh-yue yue_Hant",
    "sw swh swa swh_Latn sw_KE",
    "et ekk est et_EE",
    "tl fil tgl tl_XX fil_PH",
    "lv lvs lav lvs_Latn",
    "ms zsm msa may zsm_Latn",
    "ne npi nep npi_Deva",
    "or ory ori",
    "sq als sqi alb",
    "mn khk mon khk_Cyrl",
    "uz uzn uzb uzn_Latn",
    "az azj aze aze-Latn",
    "nb nob no nor nob_Latn __no__",
    "nn nno",
    "ar arb ara arb_Arab ar_AR",
    "arz arz_Arab ar-arz",
    "ps pbt pus",
    "mg plt mlg",
    "om gaz orm",
    "qu quy que",
    "ay ayr aym",
    "kr knc kau",
    "gn gug grn",
    "ff fuv ful",
    "fuc",
    "tw twi twi_Latn",
    "ak aka",
    "dik din",
    "sr srp srp-Cyrl srp_Cyrl sr-RS sr@cyrillic",
    "sr-Latn srp-Latn srp_Latn sr_Latn sr@latin sr_RS@latin sh hbs",
    "pt por pt_XX por_Latn pt_PT",
    "pt-BR pt_BR por-BR por_BR pt-br",
    "ko kor ko-Kore kor_Hang ko_KR",
    "ja jpn jpn_Jpan ja_XX ja-JP",
    "sat sat_Beng sat_Olck",
    "nso ns nso_Latn",
    "ku kmr kmr_Latn",
    "ckb ckb-Arab",
    "es spa es_XX es_ES",
    "es-MX spa-MX es_mx",
    "to ton ton_Latn",
    "hsb hsb_Latn hsb-DE",
    "gsw-bern gsw_bern GSW-BERN",
    "x-foo X-Foo",
]


def test_all_spellings_of_a_language_mean_the_same_and_no_other() -> None:
    groups = [line.split() for line in SPELLINGS]
    for group in groups:
        for code in group:
            assert same_language(code, group[0])
            assert match_language(code, [one for other in groups for one in other[:1]]) == group[0], code
            others = [other[0] for other in groups if other is not group and same_language(code, other[0])]
            assert not others, code


@pytest.mark.parametrize(
    ("code", "candidates", "expected"),
    [
        ("zh", "zho_Hant zho_Hans yue_Hant", "zho_Hans"),
        ("zh-TW", "zho_Hans zho_Hant", "zho_Hant"),
        ("zh_HK", "zh-CN zh-TW", "zh-TW"),
        ("sr", "srp_Cyrl", "srp_Cyrl"),
        ("sr", "sr-Latn srp_Cyrl", "srp_Cyrl"),
        ("srp-Latn", "srp_Cyrl", None),
        ("sr", "srp_Latn", None),
        ("pt-BR", "pt es", "pt"),
        ("pt-BR", "pt pt_BR", "pt_BR"),
        ("pt", "pt_BR", None),
        ("fra-CA", "fr_XX en_XX", "fr_XX"),
        ("de-AT", "deu_Latn", "deu_Latn"),
        ("ca-valencia", "cat_Latn", "cat_Latn"),
        ("uz_AF", "uzn_Latn", None),
        ("twi", "aka_Latn", "aka_Latn"),
        ("twi", "aka_Latn twi_Latn", "twi_Latn"),
        ("aka", "twi_Latn", "twi_Latn"),
        ("fuc", "fuv_Latn", "fuv_Latn"),
        ("arz", "arb_Arab", None),
        ("deu", "de_DE deu_Latn de", "de"),
        ("DE", "de_DE de-de de", "de"),
        ("de", "", None),
        ("german", "de deu_Latn", None),
        ("gsw-bern", "gsw gsw_Bern", "gsw_Bern"),
        ("gsw-bern", "gsw", None),
        ("xyz", "xyz_Latn abc_Latn", "xyz_Latn"),
        ("xyz", "xyz_Latn xyz_Cyrl", None),
        ("xyz_Latn", "xyz_Cyrl", None),
        ("deu", "unk </s> de", "de"),
    ],
)
def test_match_language(code: str, candidates: str, expected: str | None) -> None:
    assert match_language(code, candidates.split()) == expected
    assert match_language(code, candidates.split()[::-1]) == expected


def test_every_language_of_a_model_finds_its_own_tag() -> None:
    for column in ("code", "nllb", "mbart", "m2m"):
        tags = [tag for language in ALL if (tag := getattr(language, column))]
        for language in ALL:
            own = getattr(language, column)
            if own:
                assert match_language(own, tags) == match_language(own.upper(), tags) == own
                assert same_language(match_language(language.code, tags) or "x-none", own)


# The codes of NTREX-128's files, and the folders of Django's translations.
NTREX_CODES = """
afr amh arb aze-Latn bak bel bem ben bod bos bul cat ces ckb-Arab cym dan deu div dzo ell eng-GB eng-IN eng-US est eus
ewe fao fas fij fil fin fra fra-CA fuc gle glg guj hau heb hin hmn hrv hun hye ibo ind isl ita jpn kan kat kaz khm kin
kir kmr kor lao lav lit ltz mal mar mey mkd mlg mlt mon mri msa mya nde nep nld nno nob nso nya orm pan pol por por-BR
prs pus ron rus shi sin slk slv smo sna-Latn snd-Arab som spa spa-MX sqi srp-Cyrl srp-Latn ssw swa swe tah tam tat tel
tgk-Cyrl tha tir ton tsn tuk tur uig ukr urd uzb ven vie wol xho yor yue zho-CN zho-TW zul
"""
DJANGO_CODES = """
af ar ar_DZ ast az be bg bn br bs ca ckb cs cy da de de_CH dsb el en en_AU en_CA en_GB en_IE eo es es_AR es_CO es_MX
es_NI es_PR es_VE et eu fa fi fr fr_BE fr_CA fr_CH fy ga gd gl he hi hr hsb hu hy ia id ig io is it ja ka kab kk km kn
ko ky lb lt lv mk ml mn mr ms my nb ne nl nn os pa pl pt pt_BR ro ru sk sl sq sr sr_Latn sv sw ta te tg th tk tr tt udm
ug uk ur uz vi zh_Hans zh_Hant
"""
NTREX, DJANGO = NTREX_CODES.split(), DJANGO_CODES.split()


@pytest.mark.parametrize(
    ("codes", "without_facts"),
    [(NTREX, "div hmn mey nde shi tah ton ven"), (DJANGO, "dsb hsb ia io os udm")],
    ids=["ntrex", "django"],
)
def test_the_codes_of_real_files_are_known_and_of_different_languages(codes: list[str], without_facts: str) -> None:
    assert all(map(is_known, codes))
    assert [code for code in codes if find_language(code).family == "unknown"] == without_facts.split()
    assert len({read_code(code) for code in codes}) == len(codes)
    for source in codes:
        for target in codes:
            if source != target:
                assert split_direction(join_direction(source, target)) == (source, target)


@pytest.mark.parametrize(
    ("code", "english"),
    [
        *((one, True) for one in ("en", "eng", "EN", "en_XX", "eng-GB", "en_IN", "__en__")),
        ("enm", False),
        ("ang", False),
    ],
)
def test_is_english(code: str, english: bool) -> None:
    assert is_english(code) == english


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


def test_a_variety_has_the_resource_level_of_its_language() -> None:
    assert resource_level("srp-Latn") == "low"  # which EC30's Serbian is
    assert resource_level("fra-CA") == resource_level("fr") == "high"
    assert resource_level("hsb") is resource_level("german") is None


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
        ("de-xx", ("de", "xx")),
        ("german-en", ("german", "en")),
        ("DE-EN", ("DE", "EN")),
        ("DE-FR", ("DE", "FR")),
        ("zh-hant-en", ("zh-hant", "en")),
        ("en-zh-hant", ("en", "zh-hant")),
        ("fra-CA-eng-US", ("fra-CA", "eng-US")),
        ("en-gsw-bern", ("en", "gsw-bern")),
        ("gsw-bern-en", ("gsw-bern", "en")),
        ("x-foo-en", ("x-foo", "en")),
        ("zh-yue-en", ("zh-yue", "en")),
        ("ca-valencia", ("ca", "valencia")),
        ("sr-Latn-RS-en-GB", ("sr-Latn-RS", "en-GB")),
    ],
)
def test_split_direction(task: str, parts: tuple[str, str]) -> None:
    assert split_direction(task) == parts


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("de_en", "'de_en' is no direction (did you mean 'de-en'?)"),
        ("", "'' is no direction; expected"),
        ("de", "'de' is one language, German, not a direction"),
        ("pt-BR", "'pt-BR' is one language, Brazilian Portuguese"),
        ("fra-CA", "'fra-CA' is one language, French (CA)"),
        ("zh-Hant-TW", "'zh-Hant-TW' is one language, Chinese (Traditional)"),
        ("de-", "'de-' is no direction"),
        ("-en", "'-en' is no direction"),
        ("a b-en", "'a b-en' is no direction"),
        ("../de-en", "'../de-en' is no direction"),
        ("en-pt-br", "'en-pt-br' is ambiguous: 'en' to 'pt-br' or 'en-pt' to 'br'"),
        ("en-fr-ca", "'en-fr-ca' is ambiguous: 'en' to 'fr-ca' or 'en-fr' to 'ca'"),
    ],
)
def test_a_direction_that_cannot_be_read_is_refused_with_the_reason(task: str, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=re.escape(reason)):
        split_direction(task)


HYPHENATED = [
    *("zh-Hant", "zh-Hans", "pt-BR", "srp-Latn", "srp-Cyrl", "fra-CA", "eng-GB", "es-419", "sr-Latn-ME", "zh-yue"),
    *("aze-Latn", "min-Arab", "ca-valencia", "gsw-bern", "x-foo", "de-1996"),
]
CODES = st.sampled_from(
    [*HYPHENATED, *NTREX, *DJANGO, *(form for language in ALL for form in sorted(notations(language)))]
)


@given(CODES, CODES)
def test_a_joined_direction_splits_into_its_sides_or_is_refused(source: str, target: str) -> None:
    try:
        task = join_direction(source, target)
    except NeuronspecError:
        assert "-" in source + target
    else:
        assert split_direction(task) == (source, target)


@given(st.sampled_from(HYPHENATED), st.sampled_from([language.code for language in ALL] + ["deu_Latn", "en_GB"]))
def test_a_code_with_a_hyphen_goes_with_any_code_without_one(code: str, other: str) -> None:
    assert split_direction(f"{code}-{other}") == (code, other)
    assert split_direction(f"{other}-{code}") == (other, code)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("zh", "Hant-en", "reads as 'zh-Hant' to 'en'"),
        ("pt", "BR", "one language"),
        ("de", "f/r", "'f/r' cannot be a language code"),
        ("", "de", "'' cannot be a language code"),
    ],
)
def test_join_direction_refuses_what_would_not_read_back(source: str, target: str, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        join_direction(source, target)


@pytest.mark.parametrize(
    ("task", "tasks", "expected"),
    [
        ("deu_Latn-eng_Latn", "de-en en-de", "de-en"),
        ("de-en", "deu_Latn-eng_Latn de-en", "de-en"),
        ("de-en", "deu_Latn-eng_Latn ger-eng", "ger-eng"),
        ("zh-en", "zh-Hant-en zho_Hans-en", "zho_Hans-en"),
        ("pt-BR-en", "pt-en", None),
        ("law", "de-en law", "law"),
        ("law", "de-en", None),
        ("de-en", "law news", None),
    ],
)
def test_match_direction(task: str, tasks: str, expected: str | None) -> None:
    assert match_direction(task, tasks.split()) == expected


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
