"""A real Kafka cluster of several brokers, with its own authority, accounts and rights.

`cluster.py` has the cluster, `properties.py` the configuration of its nodes, `authority.py` the certificates.
"""
