"""Dead letters for the people who deal with them: listed, explained, corrected, put back."""
