"""`python -m dashboards.grafana`: write the JSON of all pages, which Grafana is provisioned with."""

from dashboards.grafana.pages import files

if __name__ == "__main__":
    for file, text in files():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
