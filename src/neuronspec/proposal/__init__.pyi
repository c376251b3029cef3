from .discovery import discover as discover
from .found import Discovery as Discovery
from .found import FoundCorpus as FoundCorpus
from .listing import LeftOut as LeftOut
from .proposing import Proposal as Proposal
from .proposing import propose as propose
from .recipe_copy import copy_recipe as copy_recipe
from .recipe_text import NEXT_VERBS as NEXT_VERBS

__all__ = [
    "NEXT_VERBS",
    "Discovery",
    "FoundCorpus",
    "LeftOut",
    "Proposal",
    "copy_recipe",
    "discover",
    "propose",
]
