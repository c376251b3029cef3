"""A small page to try the service: two translations side by side, and the neurons that fired."""
