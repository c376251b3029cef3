"""Specialisation: making a model compute only the neurons of each sentence's task."""
