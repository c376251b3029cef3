"""What each released version wrote, which every later version loads with equal numbers (R11)."""
