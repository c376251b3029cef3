"""The method add_language: training what belongs to new languages alone, and proof that nothing else has changed."""

from neuronspec.methods.add_language.method import AddLanguage as AddLanguage
