"""The notifier: the stream's alerts on `phone-alerts` reach a person, each once per route."""
