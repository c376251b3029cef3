"""Finding the corpora in files: their formats, their languages, and the parts of the data that they serve as."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neuronspec.config.sections import Corpus
from neuronspec.data.corpora import CORPUS_FORMATS, read_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.languages import check_code, is_english, same_language
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, check_placeholders
from neuronspec.progress import show_progress
from neuronspec.proposal.aligned_groups import group_files, read_groups
from neuronspec.proposal.catalogs import read_catalog_groups
from neuronspec.proposal.contents import Contents, read_contents
from neuronspec.proposal.file_names import Part
from neuronspec.proposal.found import Discovery, FoundCorpus
from neuronspec.proposal.listing import LeftOut, ListedFile, describe_left_out, list_files
from neuronspec.proposal.parallel_text import ParallelText
from neuronspec.proposal.part_choice import choose_parts
from neuronspec.proposal.record_files import read_record_file
from neuronspec.proposal.spelling import choose_spellings
from neuronspec.proposal.spelling_logs import without_spelling_logs
from neuronspec.proposal.tables import read_table_file

_READ = 20  # pairs that are read from each corpus to see that it can be read
_PARTS: tuple[Part, ...] = ("train", "valid", "test")


def discover(paths: Iterable[str | Path], pivot: str | None = None, languages: Sequence[str] = ()) -> Discovery:
    """Find the corpora in files.

    Args:
        paths: Files, folders, members of zip archives, or templates with `{lang}`, `{src}` and `{tgt}`.
        pivot: Code of the language that the others are paired with; by default English, or else the language that
            most corpora have.
        languages: Codes of the other languages, in the spelling to use; by default all of which there is text.

    Returns:
        The corpora, each in a form that a configuration can name, and what was left out. Every corpus has been opened.

    Raises:
        NeuronspecError: If a path does not exist, or no corpus is found.
    """
    own = [check_code(code) for code in (*languages, *([pivot] if pivot else []))]
    places = [str(path) for path in paths]
    files, left_out = list_files(places)
    texts, more = _read_texts(files, own)
    left_out += more

    # Which languages there are, and how the run writes them
    found_pivot = _choose_pivot(texts, pivot)
    if found_pivot is None:
        raise NeuronspecError(_explain_nothing(places, left_out))
    usable = [text for text in texts if _find(found_pivot, text.codes) is not None]
    left_out += [_leave_out_without_pivot(text, found_pivot) for text in texts if text not in usable]
    parts, notes = choose_parts(usable)
    spelled = _spell_codes(usable, parts, own)
    chosen = _choose_languages(usable, parts, found_pivot, spelled, languages)
    if not chosen:
        raise NeuronspecError(_explain_nothing(places, left_out))

    # Corpora as a configuration names them, each of which is opened
    builder = _CorpusBuilder(pivot=spelled[found_pivot], languages=chosen, spelled=spelled)
    for text, part in zip(usable, parts, strict=True):
        builder.add(text, part)
    left_out += builder.left_out
    corpora = sorted(builder.finish(), key=lambda found: (_PARTS.index(found.part), found.corpus.path))
    if not corpora:
        raise NeuronspecError(_explain_nothing(places, left_out))

    assumptions = itertools.chain.from_iterable(text.assumptions for text in usable)
    return Discovery(
        pivot=spelled[found_pivot],
        languages=tuple(code for code in chosen if any(code in found.sizes for found in corpora)),
        corpora=tuple(corpora),
        notes=(*notes, *assumptions, *_list_other_languages(usable, found_pivot, chosen, spelled)),
        left_out=tuple(left_out),
    )


def _read_texts(files: Sequence[ListedFile], own: Collection[str]) -> tuple[list[ParallelText], list[LeftOut]]:
    """Return the text of files, and the files that are left out."""
    texts: list[ParallelText] = []
    left_out: list[LeftOut] = []
    plain: list[ListedFile] = []
    catalogs: list[ListedFile] = []

    with show_progress("looking at the files", len(files)) as advance:
        for file in files:
            try:
                contents = read_contents(file.path)
                read = _choose_reader(contents)
                if read is not None:
                    texts.append(read(file, contents, own))
                elif contents.format is None:
                    plain.append(file)
                else:
                    catalogs.append(file)
            except NeuronspecError as error:
                left_out.append(LeftOut(file.path, str(error)))
            advance()

    # Files of one language each belong together by their names.
    groups, rest = group_files(plain, own)
    catalog_groups, other = group_files(catalogs, own, alone=True)
    for one in (*read_groups(groups), *read_catalog_groups(catalog_groups)):
        if isinstance(one, LeftOut):
            left_out.append(one)
        else:
            texts.append(one)
    left_out += [LeftOut(file.path, _explain_alone(file)) for file in (*rest, *other)]
    return texts, left_out


_Read = Callable[[ListedFile, Contents, Collection[str]], ParallelText]


def _choose_reader(contents: Contents) -> _Read | None:
    """Return what reads a file that holds all its languages; None for one of several files."""
    if contents.is_table:
        return read_table_file
    if contents.format is None or contents.format == "lines":
        return None
    known = CORPUS_FORMATS[contents.format]
    if known.takes_columns:
        return read_table_file
    return None if known.files == "many" else read_record_file


def _explain_alone(file: ListedFile) -> str:
    return (
        "no table of two texts, and no other file whose name differs from this one in a language's code only, as in "
        "NAME.de and NAME.en"
    )


def _choose_pivot(texts: Sequence[ParallelText], wanted: str | None) -> str | None:
    """Return the pivot as some file spells it: the wanted one, English, or the language of most texts."""
    codes = Counter(code for text in texts for code in text.codes)
    if not codes:
        return None
    if wanted is not None:
        found = _find(wanted, codes)
        if found is None:
            known = ", ".join(sorted(codes))
            raise NeuronspecError(f"no text in the pivot {wanted} was found, only in {known}")
        return found

    # Main English before that of a region
    english = _find("en", codes) or next(filter(is_english, codes), None)
    if english is not None:
        return english
    partners = Counter(code for text in texts for code in text.codes for _ in text.codes[1:])
    return max(partners, key=lambda code: (partners[code], -list(partners).index(code)))


def _find(code: str, codes: Iterable[str]) -> str | None:
    return next((other for other in codes if same_language(other, code)), None)


def _spell_codes(texts: Sequence[ParallelText], parts: Sequence[Part], own: Sequence[str]) -> dict[str, str]:
    """Return the spelling of the run by every code that files use: the user's, or that of most files to train on."""
    counts: Counter[str] = Counter()
    trained = {code for text, part in zip(texts, parts, strict=True) if part == "train" for code in text.codes}
    for text in texts:
        for code in text.codes:
            if not trained or _find(code, trained) is not None:
                counts[code] += 1
            else:
                counts[code] += 0

    spelled = choose_spellings(counts)
    return {code: _find(code, own) or spelling for code, spelling in spelled.items()}


def _choose_languages(
    texts: Sequence[ParallelText], parts: Sequence[Part], pivot: str, spelled: dict[str, str], wanted: Sequence[str]
) -> list[str]:
    """Return the languages of the run: those that the user wants, or all that can be trained.

    Raises:
        NeuronspecError: If there is no text in one that the user wants.
    """
    found: list[str] = []
    for needed in (["train"], ["valid", "test"]):
        for text, part in zip(texts, parts, strict=True):
            if part in needed:
                found += [spelled[code] for code in text.codes if not same_language(code, pivot)]
        if found:
            break

    # English of another region is no language to translate English into.
    usable = sorted({code for code in found if not (is_english(code) and is_english(pivot))})
    missing = [code for code in wanted if code not in usable and not same_language(code, pivot)]
    if missing:
        raise NeuronspecError(f"no text in {', '.join(missing)} was found, only in {', '.join(usable)}")
    return [code for code in wanted if not same_language(code, pivot)] or usable


def _list_other_languages(
    texts: Sequence[ParallelText], pivot: str, chosen: Sequence[str], spelled: dict[str, str]
) -> Iterator[str]:
    codes = {spelled[code] for text in texts for code in text.codes if not same_language(code, pivot)}
    others = sorted(codes - {*chosen})
    if others:
        some = ", ".join(others[:6]) + (", ..." if others[6:] else "")
        yield f"not in this run, since they have no training text or were not asked for: {some}"


def _leave_out_without_pivot(text: ParallelText, pivot: str) -> LeftOut:
    pair = "-".join(text.codes[:2])
    return LeftOut(
        text.path, f"text in {' and '.join(text.codes[:3])} without {pivot}; to train it, write tasks: [{pair}]"
    )


def _explain_nothing(places: Sequence[str], left_out: Sequence[LeftOut]) -> str:
    details = describe_left_out(left_out)
    return (
        f"no parallel text was found in {', '.join(places)}{details}; expected tables of two texts (.tsv), pairs of "
        "files such as NAME.de and NAME.en, .tmx, .jsonl, or zip archives of these"
    )


@dataclass
class _CorpusBuilder:
    """Makes corpora of a configuration from texts; texts of several languages under one template become one corpus.

    Attributes:
        pivot: Code of the pivot in the run.
        languages: Codes of the other languages in the run.
        spelled: Code in the run by every code that files use.
        left_out: Texts that cannot be read.
    """

    pivot: str
    languages: Sequence[str]
    spelled: dict[str, str]
    left_out: list[LeftOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._found: dict[str, FoundCorpus] = {}

    def add(self, text: ParallelText, part: Part) -> None:
        """Add the text of every language of the run with the pivot."""
        pivot = _find(self.pivot, text.codes)
        assert pivot is not None, "texts without the pivot were left out"
        for code in text.codes:
            language = self.spelled[code]
            if language in self.languages and not same_language(code, pivot):
                self._add_pair(text, part, pivot, code)

    def _add_pair(self, text: ParallelText, part: Part, pivot: str, code: str) -> None:
        # Files of two lengths cannot be aligned.
        count = text.count_pairs(pivot, code)
        if not count:
            lengths = f"{text.lines[code]:,} lines in {code}, {text.lines[pivot]:,} in {pivot}"
            self.left_out.append(LeftOut(text.path, f"not aligned line by line: {lengths}"))
            return

        # Braces in a name would be read as placeholders.
        language = self.spelled[code]
        try:
            check_placeholders(text.template or text.path, CORPUS_PLACEHOLDERS)
        except NeuronspecError as error:
            self.left_out.append(LeftOut(text.path, f"{error}; rename it"))
            return
        corpus = text.make_corpus(pivot, code)
        corpus = corpus.model_copy(update={"path": str(Path(corpus.path).absolute())})
        reason = self._verify(corpus, language)
        if reason is not None:
            self.left_out.append(LeftOut(text.path, reason))
            return

        key = f"{part} {corpus.model_dump_json()}"
        found = self._found.get(key) or FoundCorpus(part=part, corpus=corpus, sizes={})
        other_codes = {name: own for name, own in ((self.pivot, pivot), (language, code)) if name != own}
        self._found[key] = FoundCorpus(
            part=part,
            corpus=corpus,
            sizes={**found.sizes, language: found.sizes.get(language, 0) + count},
            spellings={**found.spellings, **other_codes},
            exact=found.exact and text.exact,
        )

    def _verify(self, corpus: Corpus, language: str) -> str | None:
        """Return why a corpus cannot be read as a run reads it, or None."""
        pairs = read_pairs(corpus.path, self.pivot, language, format=corpus.format, columns=corpus.columns)
        try:
            with without_spelling_logs():
                start = list(itertools.islice(pairs, _READ))
        except NeuronspecError as error:
            return str(error)
        return None if start else "it holds no pair of sentences"

    def finish(self) -> list[FoundCorpus]:
        """Return the corpora."""
        return list(self._found.values())
