from .comparison_page import write_comparison as write_comparison
from .finding import Finding as Finding
from .findings import describe_measures as describe_measures
from .language_cards import LanguageCard as LanguageCard
from .language_cards import make_language_cards as make_language_cards
from .neuron_cards import NeuronCard as NeuronCard
from .neuron_cards import make_neuron_card as make_neuron_card
from .neuron_tables import tabulate_measures as tabulate_measures
from .page import write_report as write_report
from .payload import make_payload as make_payload

__all__ = [
    "Finding",
    "LanguageCard",
    "NeuronCard",
    "describe_measures",
    "make_language_cards",
    "make_neuron_card",
    "make_payload",
    "tabulate_measures",
    "write_comparison",
    "write_report",
]
