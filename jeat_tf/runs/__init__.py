"""What lies on disk: trained nets, samples, verdicts."""
