"""The gateway as a process, with settings from the environment and the keys in the JSON of `argv[1]`."""

import logging
import sys

import msgspec

from producers.gateway.api_keys import ApiKey
from producers.gateway.service import run
from producers.gateway.settings import GatewaySettings
from tests.producers.gateway.parts import ListedKeys

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(GatewaySettings(), ListedKeys(*msgspec.json.decode(sys.argv[1], type=list[ApiKey])))
