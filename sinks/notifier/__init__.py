"""The notifier: delivers the alerts of `phone-alerts` to people, each alert once per route."""
