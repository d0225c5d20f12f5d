"""The papers' tables and figures, each by one command."""
