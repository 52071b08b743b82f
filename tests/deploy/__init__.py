"""The services deployed beside the program: Prometheus and Alertmanager with our configuration."""
