"""Dead letters listed, explained, corrected and published again."""
