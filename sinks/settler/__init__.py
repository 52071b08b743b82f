"""The settler: brings apps whose facts arrived late to the figures of their effective order (rule 8)."""
