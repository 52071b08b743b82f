"""The sink as a process, with its settings from the environment and its log on stderr."""

import logging

from sinks.service import run
from sinks.settings import SinkSettings

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    run(SinkSettings())
