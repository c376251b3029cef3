from .beam_search import translate_sentences as translate_sentences
from .by_direction import translate as translate
from .ct2_translator import CT2Translator as CT2Translator
from .engines import ENGINES as ENGINES
from .engines import Decode as Decode
from .engines import Engine as Engine
from .engines import open_engine as open_engine
from .engines import resolve_engine as resolve_engine
from .grid import plan_grid as plan_grid
from .grid import translate_grid as translate_grid
from .grid import translate_grid_files as translate_grid_files
from .resumable_files import translate_file as translate_file
from .sources import check_sources as check_sources
from .system import TranslationSystem as TranslationSystem
from .system import open_system as open_system

__all__ = [
    "ENGINES",
    "CT2Translator",
    "Decode",
    "Engine",
    "TranslationSystem",
    "check_sources",
    "open_engine",
    "open_system",
    "plan_grid",
    "resolve_engine",
    "translate",
    "translate_file",
    "translate_grid",
    "translate_grid_files",
    "translate_sentences",
]
