"""Names of headers as clients in other languages may send them."""


class Latin1(str):
    """A name that the producers of kafka-python and aiokafka send in Latin-1."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - str's own
        return super().encode("latin-1")
