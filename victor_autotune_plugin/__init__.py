"""Tunes the agent teams inside Victor workflows by A/B tests on their real runs."""
