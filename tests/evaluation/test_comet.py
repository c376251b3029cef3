from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.patience import PATIENCE

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation import comet as module
from neuronspec.evaluation.comet import Comet, CometMetric, CometScores, comet_scores
from neuronspec.evaluation.metric import mean_score, mean_statistics
from neuronspec.statistics.paired import paired_approximate_randomization

BUILDER = Path(__file__).with_name("tiny_comet.py")
SETUP = r"Set it up once.*python -m venv \S+neuronspec/comet ; \S+/bin/pip install unbabel-comet==2\.2\.7 'sent"
# A COMET that scores a sentence by its lengths, or does what its hypothesis says; as loud as the real one.
FAKE_COMET = """
import os, signal, sys, time

print("loud while it is imported")
os.system("echo a child is loud too")

def download_model(name):
    if name != "Some/model":
        try:
            raise ConnectionError("the hub is out of reach\\nmuch more about it")
        except ConnectionError:
            raise KeyError("Model not supported by COMET.")
    return os.environ["FAKE_CHECKPOINT"]

def load_from_checkpoint(path):
    print("{" + '"signature": "no answer"}')
    if open(path).read() == "broken":
        raise ValueError("not a checkpoint\\nmuch more about it")
    return Model()

class Model:
    def predict(self, samples, batch_size, gpus, accelerator, num_workers, progress_bar):
        assert (gpus, accelerator, num_workers, progress_bar) == (0, "cpu", 0, False)
        assert sys.stdin.read() == ""
        sys.stdout.write('{"scores": [1.0]}\\n' * 1000)
        scores = []
        for sample in samples:
            assert set(sample) == {"src", "mt", "ref"}
            if sample["mt"] == "die":
                print("Traceback:", file=sys.stderr)
                sys.stderr.write("RuntimeError: it fell\\n\\n")
                sys.stderr.flush()
                os._exit(3)
            if sample["mt"] == "kill":
                os.kill(os.getpid(), 9)
            if sample["mt"] == "interrupt":
                os.kill(os.getppid(), signal.SIGALRM)
            if sample["mt"] in ("sleep", "interrupt"):
                time.sleep(600)
            if sample["mt"] == "raise":
                raise RuntimeError("CUDA out of memory\\nmuch more about it")
            scores.append(float(sample["mt"]) if sample["mt"] in ("nan", "inf") else
                          len(sample["src"]) + len(sample["mt"]) / 100 + len(sample["ref"]) / 10000 + batch_size)
        return {"scores": scores[1:] if samples[0]["mt"] == "lose" else scores}
"""
FAKE_TORCH = "class cuda:\n    is_available = staticmethod(lambda: False)\n"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a COMET of a few lines; its interpreter."""
    home = tmp_path_factory.mktemp("fake")
    venv.EnvBuilder(symlinks=True).create(home)
    python = home / "bin" / "python"
    program = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip())
    (site / "torch.py").write_text(FAKE_TORCH)
    (site / "comet.py").write_text(FAKE_COMET)
    (site / "unbabel_comet-9.8.7.dist-info").mkdir()
    (site / "unbabel_comet-9.8.7.dist-info" / "METADATA").write_text("Name: unbabel-comet\nVersion: 9.8.7\n")
    return python


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint for the fake."""
    folder = tmp_path / "my model|1"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "hparams.yaml").write_text("{}")
    (folder / "checkpoints" / "model.ckpt").write_text("weights")
    return folder


def hash_start(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def test_without_an_environment_the_error_says_how_to_set_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NeuronspecError, match=rf"nowhere/python does not exist\. {SETUP}"):
        comet_scores(["a"], ["b"], ["c"], python=tmp_path / "nowhere" / "python")
    monkeypatch.setenv("NEURONSPEC_COMET_PYTHON", str(tmp_path / "elsewhere"))
    with pytest.raises(NeuronspecError, match=rf"elsewhere does not exist\. {SETUP}"):
        Comet()
    monkeypatch.delenv("NEURONSPEC_COMET_PYTHON")
    monkeypatch.setattr(module, "HOME", tmp_path / "neuronspec" / "comet")
    with pytest.raises(NeuronspecError, match=r"neuronspec/comet/bin/python does not exist"):
        Comet()


def test_the_environment_is_looked_for_in_the_cache() -> None:
    program = "from neuronspec.evaluation.comet import HOME; print(HOME)"
    for cache, home in [("/somewhere", "/somewhere/neuronspec/comet"), ("", "~/.cache/neuronspec/comet")]:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == home


def test_an_environment_without_comet_is_told_apart(model: Path) -> None:
    with pytest.raises(NeuronspecError, match=rf"imported by .*No module named 'comet'\. {SETUP}"):
        comet_scores(["a"], ["b"], ["c"], model, python=sys.executable)


def test_what_is_no_interpreter_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_text("no program")
    with pytest.raises(NeuronspecError, match=rf"cannot run .*Permission denied.*{SETUP}"):
        Comet(python=file)
    file.write_text("#!/bin/sh\necho started >&2\necho no answer >&2\nexit 5\n")
    file.chmod(0o755)
    with pytest.raises(NeuronspecError, match=r"process died: no answer \(exit status 5\)"):
        Comet(python=file)


def test_scores_come_back_in_order_whatever_the_libraries_print(fake: Path, model: Path) -> None:
    sources, hypotheses, references = ["a\nb", "", "猫 \u2028x"], ["", '"}', "\ud800"], ["", "ß", "abc"]
    with Comet(model, python=fake, batch_size=2) as comet:
        first = comet.score(sources, hypotheses, references)
        second = comet.score(["abcd"], ["ab"], ["a"])
    expected = [
        len(s) + len(h) / 100 + len(r) / 10000 + 2 for s, h, r in zip(sources, hypotheses, references, strict=True)
    ]
    assert first.scores.tolist() == expected
    assert first.scores.dtype == np.float64
    assert first.value == pytest.approx(100 * sum(expected) / 3)
    assert second.scores.tolist() == [4 + 0.02 + 0.0001 + 2]
    assert first.signature == second.signature


def test_the_signature_names_model_checkpoint_precision_and_version(
    fake: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = f"checkpoint:{hash_start(b'weights')}|precision:fp32|unbabel-comet:9.8.7"
    checkpoint = model / "checkpoints" / "model.ckpt"
    monkeypatch.setenv("FAKE_CHECKPOINT", str(checkpoint))
    names: dict[str | Path, str] = {model: "my_model_1", checkpoint: "my_model_1", "Some/model": "Some/model"}
    for given, name in names.items():
        result = comet_scores(["a"], ["b"], ["c"], given, python=fake)
        assert result.signature == f"comet|model:{name}|{rest}"
    monkeypatch.chdir(model)  # found from where the caller is
    monkeypatch.setenv("NEURONSPEC_COMET_PYTHON", str(fake))
    assert comet_scores(["a"], ["b"], ["c"], ".").signature == f"comet|model:my_model_1|{rest}"


def test_scores_take_part_in_significance_tests(fake: Path, model: Path) -> None:
    with Comet(model, python=fake) as comet:
        worse = comet.score(["a"] * 8, ["x"] * 8, ["r"] * 8)
        better = comet.score(["a"] * 8, ["x" * n for n in range(2, 10)], ["r"] * 8)
    rows = mean_statistics(worse.scores), mean_statistics(better.scores)
    assert 100 * float(mean_score(rows[0].sum(axis=0))) == pytest.approx(worse.value)
    assert paired_approximate_randomization(*rows, mean_score).p_value < 0.05


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Other/model", r"'Other/model' cannot be fetched: ConnectionError: the hub is out of reach - check its name"),
        ("missing.ckpt", r"checkpoint missing\.ckpt does not exist"),
        ("/missing", r"checkpoint /missing does not exist"),
        ("empty", r"checkpoint empty/checkpoints/model\.ckpt does not exist"),
        ("alone/checkpoints/model.ckpt", r"alone/hparams\.yaml does not exist; COMET saves it"),
        ("broken", r"'broken' cannot be loaded: ValueError: not a checkpoint - the files"),
    ],
)
def test_a_model_that_cannot_be_had_is_explained(
    given: str, reason: str, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "alone/checkpoints", "broken/checkpoints"):
        Path(folder).mkdir(parents=True)
    for folder in ("alone", "broken"):
        Path(folder, "checkpoints", "model.ckpt").write_text("broken")
    Path("broken/hparams.yaml").write_text("{}")
    with pytest.raises(NeuronspecError, match=reason):
        Comet(given, python=fake)


def test_what_does_not_fit_is_refused_and_the_process_lives_on(fake: Path, model: Path) -> None:
    with Comet(model, python=fake) as comet:
        with pytest.raises(NeuronspecError, match="2 sources, 1 hypotheses and 2 references"):
            comet.score(["a", "b"], ["a"], ["a", "b"])
        with pytest.raises(NeuronspecError, match=r"0 sources.*at least one"):
            comet.score([], [], [])
        for number in ("nan", "inf"):
            with pytest.raises(NeuronspecError, match=rf"score 2 of 3 is {number}"):
                comet.score(["a"] * 3, ["x", number, "x"], ["r"] * 3)
        with pytest.raises(NeuronspecError, match=r"gave 1 scores for 2 sentences"):
            comet.score(["a"] * 2, ["lose", "x"], ["r"] * 2)
        with pytest.raises(NeuronspecError, match=r"cannot score .*CUDA out of memory - .*smaller batch_size"):
            comet.score(["a"], ["raise"], ["r"])
        assert len(comet.score(["a"], ["x"], ["r"]).scores) == 1
    for wrong in ({"device": "tpu"}, {"batch_size": 0}):
        options: dict[str, Any] = wrong
        with pytest.raises(NeuronspecError, match="give 'auto', 'cpu' or 'cuda', and a batch of 1 or more"):
            Comet(model, python=fake, **options)
    with pytest.raises(NeuronspecError, match=r"bin/python finds no CUDA device"):
        Comet(model, python=fake, device="cuda")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("die", r"process died: RuntimeError: it fell \(exit status 3\)"),
        ("kill", r"killed by signal 9, perhaps for want"),
    ],
)
def test_a_process_that_dies_tells_its_last_words(what: str, words: str, fake: Path, model: Path) -> None:
    with Comet(model, python=fake) as comet:
        with pytest.raises(NeuronspecError, match=words):
            comet.score(["a"], [what], ["r"])
        with pytest.raises(NeuronspecError, match="has ended; start another"):
            comet.score(["a"], ["x"], ["r"])


def test_a_large_request_to_a_dead_process_is_no_broken_pipe(fake: Path, model: Path) -> None:
    with Comet(model, python=fake) as comet:
        comet._process.kill()
        with pytest.raises(NeuronspecError, match="killed by signal 9"):
            comet.score(["a" * 10_000] * 100, ["x"] * 100, ["r"] * 100)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not happens() and time.monotonic() < end:
        time.sleep(0.02)
    return happens()


def test_nothing_is_left_behind(fake: Path, model: Path) -> None:
    with Comet(model, python=fake) as comet:
        process = comet._process.pid
        assert is_alive(process)
        comet.close()
        assert not is_alive(process)
    comet = Comet(model, python=fake)
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)  # Ctrl-C in the middle of a test set
    with pytest.raises(KeyboardInterrupt):
        comet.score(["a"], ["interrupt"], ["r"])
    signal.signal(signal.SIGALRM, handler)
    assert not is_alive(comet._process.pid)


def test_the_process_ends_with_a_killed_parent_in_the_middle_of_a_test_set(fake: Path, model: Path) -> None:
    program = (
        "import sys\nfrom neuronspec.evaluation.comet import Comet\n"
        "comet = Comet(sys.argv[1], python=sys.argv[2])\nprint(comet._process.pid, flush=True)\n"
        "comet.score(['a'], ['sleep'], ['r'])\n"
    )
    command = [sys.executable, "-c", program, str(model), str(fake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert is_alive(process)
        parent.kill()
    assert wait_until(lambda: not is_alive(process))


def test_the_worker_is_written_for_older_pythons_and_needs_only_comet() -> None:
    tree = ast.parse(module.WORKER.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)


# From here on, the real COMET with a tiny model.

SOURCES = ["the cat sat on the mat .", "a dog", "", "the dog , the cat , the dog , the cat on a mat .", "mat ."] * 4
HYPOTHESES = ["die Katze auf der Matte .", "", "der Hund , die Katze", "Matte Matte Matte"] * 5
REFERENCES = HYPOTHESES[::-1]


@pytest.fixture(scope="module")
def real() -> Path:
    """The interpreter of an environment with unbabel-comet."""
    try:
        return module.find_interpreter(None)
    except NeuronspecError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tiny(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the class of wmt22-comet-da, with random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    subprocess.run([real, "-I", BUILDER, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def comet(real: Path, tiny: Path) -> Iterator[Comet]:
    with Comet(tiny, python=real, device="cpu") as loaded:
        yield loaded


def test_scores_equal_those_of_comets_python_interface(comet: Comet, real: Path, tiny: Path) -> None:
    program = (
        "import json, sys\nfrom comet import load_from_checkpoint\n"
        "model = load_from_checkpoint(sys.argv[1])\n"
        "samples = json.load(sys.stdin)\n"
        "print(json.dumps(model.predict(samples, batch_size=16, gpus=0).scores))\n"
    )
    texts = zip(SOURCES, HYPOTHESES, REFERENCES, strict=True)
    samples = [{"src": s, "mt": h, "ref": r} for s, h, r in texts]
    command = [str(real), "-c", program, str(tiny / "checkpoints" / "model.ckpt")]
    done = subprocess.run(command, input=json.dumps(samples), capture_output=True, text=True, check=True)
    golden = json.loads(done.stdout.splitlines()[-1])
    result = comet.score(SOURCES, HYPOTHESES, REFERENCES)
    assert result.scores.tolist() == golden
    assert len(set(golden)) == 20
    assert result.value == pytest.approx(100 * sum(golden) / len(golden))


def test_scores_equal_those_of_the_command_line_but_for_its_half_precision(
    comet: Comet, real: Path, tiny: Path, tmp_path: Path
) -> None:
    paths = {name: tmp_path / name for name in ("s", "t", "r")}
    for path, lines in zip(paths.values(), (SOURCES, HYPOTHESES, REFERENCES), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    command = [str(real.with_name("comet-score")), "--gpus", "0", "--model", str(tiny / "checkpoints" / "model.ckpt")]
    command += [word for name, path in paths.items() for word in (f"-{name}", str(path))]
    done = subprocess.run([*command, "--to_json", str(tmp_path / "out")], capture_output=True, text=True, check=True)
    assert done.stdout
    [golden] = json.loads((tmp_path / "out").read_text()).values()
    result = comet.score(SOURCES, HYPOTHESES, REFERENCES)
    np.testing.assert_allclose(result.scores, [line["COMET"] for line in golden], atol=5e-3)


def test_one_process_scores_set_after_set_and_the_same_each_time(comet: Comet) -> None:
    process = comet._process.pid
    first = comet.score(SOURCES, HYPOTHESES, REFERENCES)
    other = comet.score(HYPOTHESES, SOURCES, REFERENCES)
    again = comet.score(SOURCES, HYPOTHESES, REFERENCES)
    assert comet._process.pid == process
    assert first.scores.tolist() == again.scores.tolist() != other.scores.tolist()


def test_a_score_hardly_depends_on_the_batch_and_follows_its_sentence(comet: Comet) -> None:
    whole = comet.score(SOURCES, HYPOTHESES, REFERENCES).scores
    turned = comet.score(SOURCES[::-1], HYPOTHESES[::-1], REFERENCES[::-1]).scores
    np.testing.assert_allclose(turned[::-1], whole, atol=1e-6)
    for line in range(5):
        alone = comet.score([SOURCES[line]], [HYPOTHESES[line]], [REFERENCES[line]])
        np.testing.assert_allclose(alone.scores, whole[line], atol=1e-6)


def test_the_real_signature(comet: Comet, tiny: Path) -> None:
    digits = hash_start((tiny / "checkpoints" / "model.ckpt").read_bytes())
    name, model, checkpoint, precision, version = comet.signature.split("|")
    assert (name, model, checkpoint, precision) == ("comet", "model:tiny", f"checkpoint:{digits}", "precision:fp32")
    assert version.startswith("unbabel-comet:2.2.")


def test_a_job_of_slurms_does_not_confuse_the_real_worker(
    real: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "x", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert len(comet_scores(["a"], ["b"], ["c"], tiny, python=real, device="cpu").scores) == 1


def test_more_than_weights_is_loaded_only_when_the_user_says_so(
    real: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tiny / "checkpoints" / "odd.ckpt"
    with pytest.raises(NeuronspecError, match=r"holds more than weights - .*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"):
        Comet(odd, python=real)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert len(comet_scores(["a"], ["b"], ["c"], odd, python=real, device="cpu").scores) == 1


def test_a_hub_out_of_reach_is_explained(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(NeuronspecError, match=r"'Unbabel/wmt22-comet-da' cannot be fetched: \w+Error: .* - check its"):
        Comet(python=real)


class Loaded:
    """Stands for a loaded model."""

    signature = "comet|model:tiny"

    def score(self, sources: list[str], hypotheses: list[str], references: list[str]) -> CometScores:
        assert (sources, references) == (["s1", "s2"], ["r1", "r2"])
        return CometScores(np.array([{"good": 0.875, "bad": 0.25}[line] for line in hypotheses]), self.signature)


def test_comet_is_a_metric_like_the_others_on_the_scale_of_the_paper() -> None:
    metric = CometMetric.of(Loaded())  # type: ignore[arg-type]
    rows = metric.statistics(["good", "bad"], ["r1", "r2"], "de", ["s1", "s2"])
    assert float(metric.score(rows.sum(axis=0))) == 56.25
    assert (metric.name, metric.signature("de"), metric.higher_is_better) == ("COMET", "comet|model:tiny", True)
    with pytest.raises(NeuronspecError, match="COMET reads the sources, too"):
        metric.statistics(["good", "bad"], ["r1", "r2"], "de")
