from .answers import open_answers as open_answers
from .exporting import Export as Export
from .exporting import export as export
from .formats import EXPORTS as EXPORTS
from .formats import Answer as Answer
from .formats import ExportFormat as ExportFormat
from .formats import ExportRequest as ExportRequest
from .formats import Standard as Standard
from .formats import Written as Written
from .proof import Agreement as Agreement
from .vocabulary.trimming import TrimmedVocabulary as TrimmedVocabulary
from .vocabulary.trimming import trim_vocabulary as trim_vocabulary

__all__ = [
    "EXPORTS",
    "Agreement",
    "Answer",
    "Export",
    "ExportFormat",
    "ExportRequest",
    "Standard",
    "TrimmedVocabulary",
    "Written",
    "export",
    "open_answers",
    "trim_vocabulary",
]
