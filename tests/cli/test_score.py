from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu
from tests.command import run_command

from neuronspec.comparison.detail_tables import tabulate_directions
from neuronspec.comparison.study import make_study
from neuronspec.evaluation.results import Results

Score = Callable[..., int]
LINES = (["The cat sat on the mat.", "A dog ran away."], ["The cat sat on a mat.", "A dog ran far away."])


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Score:
    """Call `neuronspec score` in a folder with the files `hyp` and `ref`; return its exit code."""
    monkeypatch.setenv("NEURONSPEC_COMET_PYTHON", str(tmp_path / "none"))
    for name, lines in zip(("hyp", "ref"), LINES, strict=True):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        return run_command("score", *arguments)

    return call


def test_files_are_scored_as_sacrebleu_does(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("-t", "hyp", "-r", "ref", "-l", "en", "--json", "-m", "bleu", "-m", "chrf", "-m", "ter") == 0
    *found, _ = json.loads(capsys.readouterr().out)
    metrics = [sacrebleu.BLEU(), sacrebleu.CHRF(word_order=2), sacrebleu.TER()]
    for one, metric in zip(found, metrics, strict=True):
        assert one["value"] == pytest.approx(metric.corpus_score(LINES[0], [LINES[1]]).score)
        assert one["signature"] == str(metric.get_signature())
        assert one["sentences"] == 2


def test_a_line_for_each_metric_with_its_signature(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("-t", "ref", "-r", "ref", "-l", "de") == 0
    said = capsys.readouterr()
    bleu, chrf, *quality = said.out.splitlines()
    assert [line.split()[0] for line in quality] == ["empty", "repeated", "over-long", "off-target:"]
    assert bleu.startswith("BLEU 100.0  nrefs:1|case:mixed|eff:no|tok:13a|")
    assert chrf.startswith("chrF++ 100.0  nrefs:1|")
    assert said.err == ""


def test_compressed_files_are_read(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open("ref.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in LINES[1])
    assert score("-t", "ref", "-r", "ref.gz", "-l", "de", "-m", "chrf") == 0
    assert capsys.readouterr().out.startswith("chrF++ 100.0")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            ["-t", "hyp", "-r", "ref"],
            "missing --language CODE, the language of the translations (for example de)",
        ),
        (["-r", "ref"], "error: give a configuration, or --translations FILE --references FILE"),
        (["-t", "{task}.txt", "-r", "ref"], "error: there is no file {task}.txt of any direction"),
        (["-t", "hyp", "-r", "ref", "-l", "de-en"], "error: unknown language 'de-en'"),
        (["-t", "hyp", "-r", "ref", "-l", "en", "-o", "x"], "error: --out keeps the results of a grid"),
        (["-t", "{task}{foo}", "-r", "ref"], "error: unknown placeholder {foo} in {task}{foo}"),
        (["-t", "hyp", "-r", "ref", "-l", "en", "--sentencepiece", "ref"], "ref is the model of the metric spbleu"),
        (["-t", "out.{lang}", "-r", "ref"], "error: out.{lang} cannot tell directions apart: write {task}"),
        (["-t", "hyp", "-r", "ref", "-l", "en", "-m", "comet"], "COMET needs an environment of its own"),
        (["-t", "hyp", "-l", "en"], "error: hyp holds no references: give a configuration, or --references FILE"),
        (
            ["-t", "hyp", "-r", "ref", "-l", "en", "-m", "blue"],
            "error: unknown metric 'blue' (did you mean 'bleu' or 'spbleu'?)",
        ),
        (
            ["-t", "hyp", "-r", "short", "-l", "en"],
            "hyp has 2 sentences, but short has 1 line",
        ),
        (["-t", "empty", "-r", "empty", "-l", "en"], "error: empty is empty; expected one sentence a line"),
        (["-t", "none", "-r", "ref", "-l", "en"], "does not"),
        (["nope"], "error: no configuration 'nope'"),
        (
            ["demo", "-m", "comet"],
            "error: --metric: these options need --translations; for a run, override the configuration: score.metrics",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    score: Score, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    Path("short").write_text("one line\n", encoding="utf-8")
    Path("empty").touch()
    assert score(*arguments) == 2
    said = capsys.readouterr()
    assert found in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_fairseq_log_holds_its_references(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    def marked(line: str) -> str:
        return "▁" + line.replace(" ", " ▁")

    log = [f"S-{n}\t__en__ ▁x ▁y\nT-{n}\t{marked(LINES[1][n])}\nH-{n}\t-0.5\t{marked(LINES[0][n])}\n" for n in (1, 0)]
    Path("generate-test.txt").write_text("".join(log), encoding="utf-8")
    assert score("-t", "generate-test.txt", "-l", "en", "--json", "-m", "bleu") == 0
    bleu, quality = json.loads(capsys.readouterr().out)
    assert bleu["value"] == pytest.approx(sacrebleu.BLEU().corpus_score(LINES[0], [LINES[1]]).score)
    assert quality["quality"]["sentences"] == 2


def test_broken_translations_are_counted_where_the_sources_are_given(
    score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sources").write_text("Ich sehe heute einen Hund.\nDas ist gut.\n", encoding="utf-8")
    Path("copies").write_text("Ich sehe heute einen Hund.\n\n", encoding="utf-8")
    Path("right").write_text("I see a dog today.\nThis is good.\n", encoding="utf-8")
    assert score("-t", "copies", "-r", "right", "-s", "sources", "-l", "en", "-m", "chrf") == 0
    said = capsys.readouterr().out
    assert "copied 50.0 %" in said
    assert "empty 50.0 %" in said
    assert "off-target: unknown" in said


def test_references_that_look_tokenised_are_told(score: Score, caplog: pytest.LogCaptureFixture) -> None:
    line = "The well @-@ known man &apos;s dog , it is said , barks .\n"
    Path("tokenised").write_text(line * 3, encoding="utf-8")
    assert score("-t", "tokenised", "-r", "tokenised", "-l", "en") == 0
    assert "the references of tokenised look tokenized" in caplog.text


def test_off_target_that_cannot_be_told_says_why_on_the_terminal_in_json_and_in_results(
    score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "py3langid calls 100 % of the references another language, too"
    xhosa = "Ibhulorho endala ivaliwe namhlanje kusasa kuba amanzi emlanjeni ebephakame kakhulu.\n"
    for name in ("xhosa", "out/en-xh.txt", "test.xh"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(xhosa * 3, encoding="utf-8")
    assert score("-t", "xhosa", "-r", "xhosa", "-l", "xho_Latn") == 0
    assert f"off-target: unknown ({why})" in capsys.readouterr().out
    assert score("-t", "xhosa", "-r", "xhosa", "-l", "xh", "--json") == 0
    found = json.loads(capsys.readouterr().out)[-1]["quality"]
    assert (found["off_target"], found["off_target_references"], found["off_target_note"]) == (None, 1.0, why)
    assert score("-t", "out/{task}.txt", "-r", "test.{tgt}", "-o", "results") == 0
    [kept] = Results.load(Path("results")).qualities
    assert (kept.off_target, kept.off_target_references, kept.off_target_note) == (None, 1.0, why)


@pytest.mark.parametrize("text", ["\n\n", " \n\u200b\n", "\ufeff\n\u00a0\n"], ids=ascii)
def test_references_of_nothing_are_refused(score: Score, capsys: pytest.CaptureFixture[str], text: str) -> None:
    for name in ("nothing", "out/en-de.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    assert score("-t", "hyp", "-r", "nothing", "-l", "de") == 2
    assert "all 2 references are empty, so there is nothing to score against" in capsys.readouterr().err
    assert score("-t", "out/{task}.txt", "-r", "nothing") == 2
    assert "all 2 references of en-de are empty" in capsys.readouterr().err


def test_translations_of_nothing_score_nothing(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    Path("nothing").write_text("\u200b\n\n", encoding="utf-8")
    assert score("-t", "nothing", "-r", "ref", "-l", "en") == 0
    said = capsys.readouterr().out
    assert said.startswith("BLEU 0.0 ")
    assert "empty 100.0 %" in said


def test_some_references_of_nothing_are_told(score: Score, caplog: pytest.LogCaptureFixture) -> None:
    Path("half").write_text("The cat sat on a mat.\n\u200b\n", encoding="utf-8")
    assert score("-t", "hyp", "-r", "half", "-l", "en") == 0
    assert "1 of the 2 references of hyp are empty" in caplog.text


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_marks_and_line_ends_of_other_systems_make_no_difference(
    score: Score, capsys: pytest.CaptureFixture[str], mark: bytes, end: bytes
) -> None:
    Path("other").write_bytes(mark + end.join(line.encode() for line in LINES[0]))
    said = []
    for name in ("hyp", "other"):
        assert score("-t", name, "-r", "ref", "-l", "en", "-m", "bleu", "-m", "ter", "--json") == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_scores_of_words_that_a_language_does_not_separate_are_told(
    score: Score, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    told = "BLEU splits tha_Thai at spaces, which it does not put between words"
    Path("thai").write_text("สะพานเก่าถูกปิด\n", encoding="utf-8")
    assert score("-t", "thai", "-r", "thai", "-l", "tha_Thai", "-m", "bleu", "-m", "ter", "--json") == 0
    assert caplog.text.count(told) == 1
    caplog.clear()
    for name in ("out/en-tha_Thai.txt", "test.tha_Thai"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("สะพานเก่าถูกปิด\n", encoding="utf-8")
    assert score("-t", "out/{task}.txt", "-r", "test.{tgt}", "-m", "bleu", "-o", "results", "--json") == 0
    assert caplog.text.count(told) == 1
    capsys.readouterr()
    study = make_study(Results.load(Path("results")), "system")
    assert any(told in note for note in tabulate_directions(study).notes)


def write_grid(folder: Path, system: str, tasks: tuple[str, ...] = ("en-de", "de-en", "de-fr")) -> None:
    for number, task in enumerate(tasks):
        for code in task.split("-"):
            (folder / f"test.{code}").write_text("".join(f"{line} {code}\n" for line in LINES[1]), encoding="utf-8")
        path = folder / system / f"{task}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line} {task[3:]}\n" for line in LINES[number % 2]), encoding="utf-8")


def test_a_grid_is_scored_file_by_file_and_kept(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_grid(tmp_path, "sys")
    grid = ("-t", "sys/{task}.txt", "-r", "test.{tgt}", "-s", "test.{src}", "--system", "mine")
    assert score(*grid, "-o", "results") == 0
    said = capsys.readouterr().out
    results = Results.load(tmp_path / "results")
    assert (results.systems, results.tasks, results.zero_shot) == (["mine"], ["de-en", "de-fr", "en-de"], {"de-fr"})
    for task in results.tasks:
        lines = [(tmp_path / name).read_text().splitlines() for name in (f"sys/{task}.txt", f"test.{task[3:]}")]
        golden = sacrebleu.CHRF(word_order=2).corpus_score(lines[0], [lines[1]]).score
        assert results.score("mine", "chrF++", [task]) == pytest.approx(golden)
    assert {quality.task for quality in results.qualities} == {*results.tasks}
    mean = results.score("mine", "BLEU", results.tasks)
    assert f"mine: BLEU {mean:.1f}, the mean over 3 directions" in said
    assert score(*grid, "-o", "results") == 2
    assert "results exists: choose another --out, or give --force" in capsys.readouterr().err
    assert score(*grid, "-o", "results", "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["task"] == "de-en"


def test_several_systems_are_scored_together_with_the_numbers_of_each_alone(score: Score, tmp_path: Path) -> None:
    write_grid(tmp_path, "base")
    write_grid(tmp_path, "ours", ("de-en", "en-de"))
    together = ("-t", "{system}/{task}.txt", "-r", "test.{tgt}")
    assert score(*together, "-o", "both") == 0
    both = Results.load(tmp_path / "both")
    assert both.systems == ["base", "ours"]
    for system in both.systems:
        assert score("-t", f"{system}/{{task}}.txt", "-r", "test.{tgt}", "--system", system, "-o", system + "2") == 0
        alone = Results.load(tmp_path / f"{system}2")
        own = both.select(system)
        assert (own.scores, own.qualities) == (alone.scores, alone.qualities)
        for task in alone.tasks:
            assert own.statistics(system, "BLEU", task).tolist() == alone.statistics(system, "BLEU", task).tolist()


def test_without_quality_only_scores_are_counted(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_grid(tmp_path, "sys")
    with monkeypatch.context() as patch:
        patch.delattr("neuronspec.evaluation.quality.choose_identifier")  # no language is identified
        assert score("-t", "hyp", "-r", "ref", "-l", "en", "--no-quality") == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["BLEU", "chrF++"]
        assert score("-t", "hyp", "-r", "ref", "-l", "en", "--no-quality", "--json") == 0
        assert len(json.loads(capsys.readouterr().out)) == 2
        assert score("-t", "{system}/{task}.txt", "-r", "test.{tgt}", "--no-quality", "-o", "results") == 0
    assert Results.load(tmp_path / "results").qualities == ()

    # Tables do without it.
    assert run_command("compare", "results", "--all") == 0
    assert score("demo", "--no-quality") == 2
    assert "the report of a run shows broken translations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "options", "found"),
    [
        ("sys", ("--system", "mine"), "--system names the only system of a grid"),
        ("a*b", (), "{system} cannot stand for 'a*b'"),
        ("a\x07b", (), "cannot name a system"),
    ],
)
def test_names_of_systems_that_cannot_be_told_are_refused(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str, options: tuple[str, ...], found: str
) -> None:
    write_grid(tmp_path, folder)
    assert score("-t", "{system}/{task}.txt", "-r", "test.{tgt}", *options) == 2
    assert found in " ".join(capsys.readouterr().err.split())
    assert score("-t", "none/{system}.{task}.txt", "-r", "test.{tgt}") == 2
    assert "there is no file none/{system}.{task}.txt of any system" in capsys.readouterr().err


def test_a_broken_file_of_a_grid_is_named_with_its_line(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_grid(tmp_path, "sys")
    grid = ("-t", "sys/{task}.txt", "-r", "test.{lang}")
    broken = tmp_path / "sys" / "de-fr.txt"
    for content, found in (
        (b"one\n", "sentence 2"),
        (b"one\ntwo\nthree\n", "sentence 3 of sys/de-fr.txt has no reference: "),
        (b"one\n\xff\n", "sys/de-fr.txt:2 is not UTF-8"),
        (b"", "sys/de-fr.txt is empty"),
    ):
        broken.write_bytes(content)
        assert score(*grid) == 2
        said = capsys.readouterr().err
        assert found in said or (content == b"one\n" and "test.fr:2 has no translation" in said)
    (tmp_path / "test.fr").unlink()
    broken.write_bytes(b"one\ntwo\n")
    assert score(*grid) == 2
    assert "test.fr does not exist" in capsys.readouterr().err


def test_the_log_of_another_system_is_detokenized_on_request(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "de-en").mkdir()
    log = "S-0\t__de__ ▁Ich ▁bin ▁es ▁.\nT-0\t▁It ▁'s ▁me ▁.\nH-0\t-0.5\t▁It ▁'s ▁me ▁.\n"
    (tmp_path / "de-en" / "generate-test.txt").write_text(log, encoding="utf-8")
    (tmp_path / "raw.en").write_text("It's me.\n", encoding="utf-8")
    arguments = ("-t", "{task}/generate-test.txt", "-r", "raw.{tgt}", "-m", "chrf", "--json")
    values = []
    for more in ((), ("--detokenize",)):
        assert score(*arguments, *more) == 0
        values.append(json.loads(capsys.readouterr().out)[0]["score"])
    assert values[0] < values[1] == 100


def test_a_grid_in_another_notation_has_its_pivot(
    score: Score, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for task in ("eng_Latn-deu_Latn", "deu_Latn-fra_Latn", "fra_Latn-eng_Latn"):
        (tmp_path / "out" / f"{task}.txt").write_text("a b c d\n")
        (tmp_path / f"test.{task.split('-')[1]}").write_text("a b c d\n")
    (tmp_path / "out" / "notes.txt").write_text("?\n")
    assert score("-t", "out/{task}.txt", "-r", "test.{tgt}", "-o", "kept", "-m", "bleu", "-m", "bleu") == 0
    results = Results.load(tmp_path / "kept")
    assert results.zero_shot == {"deu_Latn-fra_Latn"}
    assert results.metrics == ["BLEU"]
    assert score("-t", "out/{task}.txt", "-r", "test.deu_Latn") == 2
    assert "gives translations into fra_Latn and deu_Latn the same file: write {tgt}" in capsys.readouterr().err
    assert score("-t", "out/{task}.txt", "-r", "test.{tgt}", "-o", "out", "--force") == 2
    assert "out holds something else" in capsys.readouterr().err
    assert score("-t", "out/{task}.txt", "-r", "test.{tgt}", "-o", "kept", "--force") == 0


@pytest.mark.parametrize("language", ["zh_TW", "srp-Latn", "fra-CA", "hsb", "ton_Latn", "gsw-bern", "x-foo", "iw"])
def test_translations_into_any_language_are_scored(
    score: Score, language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("-t", "ref", "-r", "ref", "-l", language, "-m", "chrf") == 0
    assert "chrF++ 100.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("german", "unknown language 'german' (did you mean 'de' for German?)"),
        ("jp", "unknown language 'jp' (did you mean 'ja' for Japanese?)"),
        ("d e", "'d e' cannot be a language code"),
    ],
)
def test_a_mistyped_language_would_choose_the_wrong_tokenizer(
    score: Score, language: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("-t", "ref", "-r", "ref", "-l", language) == 2
    assert found in " ".join(capsys.readouterr().err.split())


def test_a_grid_of_languages_in_the_spelling_of_their_files(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("eng_Latn-deu_Latn", "deu_Latn-eng_Latn", "eng_Latn-gsw-bern", "deu_Latn-gsw-bern"):
        target = task.split("-", 1)[1]
        Path(f"{task}.txt").write_text("x y\n", encoding="utf-8")
        Path(f"flores.{target}").write_text("x y\n", encoding="utf-8")
    assert score("-t", "{task}.txt", "-r", "flores.{tgt}", "-m", "chrf", "--json", "--pivot", "en") == 0
    found = {one["task"]: one["zero_shot"] for one in json.loads(capsys.readouterr().out)}
    assert found == {
        **dict.fromkeys(("deu_Latn-eng_Latn", "eng_Latn-deu_Latn", "eng_Latn-gsw-bern"), False),
        "deu_Latn-gsw-bern": True,
    }
