"""The designs that are compared: each a program that serves the people of one MongoDB.

    python -m benchmarks.designs.NAME PORT URI

One that needs packages of its own names them in NAME.txt, beside it.
"""
