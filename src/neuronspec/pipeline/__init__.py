"""The pipeline: from corpora to report, stage by stage, each done once."""
