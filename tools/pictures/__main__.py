"""Draw Grafana's pages into docs/images, as far as their sources are given."""

import argparse
import logging
import warnings

from dashboards.grafana.words import LANGUAGES
from tools.pictures.answers import Answers
from tools.pictures.drawing import draw
from tools.pictures.grafana_data import GrafanaData
from tools.pictures.half_year import DAYS, START_MS
from tools.pictures.half_year_engine import half_year_engine
from tools.pictures.pages import PAGES, committed


def main() -> None:
    """Draw the page of the pipeline from a running stack, or else the pages that ask ClickHouse alone."""
    arguments = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    arguments.add_argument("--prometheus", help="a running Prometheus; draws the pipeline's page")
    arguments.add_argument("--clickhouse", help="the ClickHouse beside it")
    given = arguments.parse_args()
    # Chinese is measured with a font that lacks it; whoever looks at the picture has one.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with GrafanaData() as grafana:
        if given.prometheus:
            answers = Answers("pipeline", given.clickhouse, given.prometheus)
            for language in LANGUAGES:
                draw(language, "pipeline", answers, grafana, live=True)
            return
        with half_year_engine() as url:
            for language, page in PAGES:
                if page != "pipeline":
                    answers = Answers(page, url, None, committed(language, page)["time"], (START_MS, DAYS))
                    draw(language, page, answers, grafana, live=False)


if __name__ == "__main__":
    main()
