"""Benchmarks, one a file, with one format of results and a control beside every score."""
